"""Files on disk: written atomically, read without running code, identified by digests."""
