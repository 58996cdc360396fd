"""From the bytes of a body to rows, or to what is wrong with them."""
