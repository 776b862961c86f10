"""What this machine offers: devices, threads, ports."""
