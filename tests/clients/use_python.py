"""What a user of the generated Python client writes; it prints what it was answered."""

import datetime as dt
import json
import sys

from fleetwatt_client import AuthenticatedClient
from fleetwatt_client.api.analytics import get_analytics_performance_vehicle_id
from fleetwatt_client.api.fleet import get_analytics_performance
from fleetwatt_client.api.ingestion import post_ingestion_meter, post_ingestion_vehicle
from fleetwatt_client.api.mappings import post_ingestion_mapping
from fleetwatt_client.api.series import get_analytics_vehicles_vehicle_id_series
from fleetwatt_client.api.service import get_readyz
from fleetwatt_client.api.status import get_status_vehicles_vehicle_id
from fleetwatt_client.models import (
    BucketWidth,
    IngestionResult,
    MappingRequest,
    MeterReading,
    Performance,
    PerformanceOrder,
    PerformancePage,
    Problem,
    Readiness,
    StoredMapping,
    VehicleReading,
    VehicleSeries,
    VehicleStatus,
)

START = dt.datetime(2024, 2, 9, 10, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
END = START + dt.timedelta(hours=1)


def main(url: str) -> None:
    # The service of this test asks for no key.
    client = AuthenticatedClient(base_url=url, token="none")
    meters = [
        MeterReading("M-1", 100.0 + 2 * minute, 230.0, START + minute * MINUTE) for minute in (0, 1)
    ]
    vehicles = [
        VehicleReading("V-1", None, 50.0 + 1.8 * minute, 21.5, START + minute * MINUTE)
        for minute in (0, 1)
    ]
    stored = post_ingestion_meter.sync(client=client, body=meters)
    also = post_ingestion_vehicle.sync(client=client, body=vehicles)
    assert isinstance(stored, IngestionResult)
    assert isinstance(also, IngestionResult)
    mapped = post_ingestion_mapping.sync(client=client, body=MappingRequest("V-1", "M-1"))
    assert isinstance(mapped, StoredMapping)
    summary = get_analytics_performance_vehicle_id.sync("V-1", client=client, start=START, end=END)
    assert isinstance(summary, Performance)
    status = get_status_vehicles_vehicle_id.sync("V-1", client=client)
    assert isinstance(status, VehicleStatus)
    series = get_analytics_vehicles_vehicle_id_series.sync(
        "V-1", client=client, start=START, end=END, bucket=BucketWidth.HOURS_1
    )
    assert isinstance(series, VehicleSeries)
    page = get_analytics_performance.sync(
        client=client, start=START, end=END, sort=PerformanceOrder.KWH_CONSUMED_AC_DESCENDING
    )
    assert isinstance(page, PerformancePage)
    problem = get_status_vehicles_vehicle_id.sync("nobody", client=client)
    assert isinstance(problem, Problem)
    ready = get_readyz.sync(client=client)
    assert isinstance(ready, Readiness)
    print(
        json.dumps(
            {
                "accepted": stored.accepted + also.accepted,
                "mappingWarnings": [warning.value for warning in mapped.warnings],
                "kwhConsumedAc": summary.kwh_consumed_ac,
                "kwhDeliveredDc": round(summary.kwh_delivered_dc or 0, 9),
                "warnings": [w.value for w in summary.warnings if w.value != "low_coverage"],
                "statusTimestamp": status.timestamp.isoformat().replace("+00:00", "Z"),
                "buckets": len(series.items),
                "orders": [item.vehicle_id for item in page.items],
                "problem": problem.type_,
                "version": ready.version,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
