"""An HTTP/1.1 client for bodies that go straight into buffers. It knows nothing of AWS."""
