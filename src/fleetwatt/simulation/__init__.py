"""A fleet that behaves like one, its network, and the sending of its readings over HTTP."""
