-- An update stays in its page, and touches no index, where the page has room beside the versions of 100 bytes that some running
-- transaction may still see. While several large batches are written at a time those are more than one of each device: half-full
-- pages were too full for up to half of all updates, and the table grew to four times the size that it now begins with.
ALTER TABLE meters_latest SET (fillfactor = 20);
ALTER TABLE vehicles_latest SET (fillfactor = 20);
