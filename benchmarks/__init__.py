"""What foveal costs and how good it is, measured: number, command, hardware, run count, peers side by side."""
