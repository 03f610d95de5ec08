"""An HTTP/1.1 client that receives bodies directly into the caller's buffers. It contains nothing specific to AWS."""
