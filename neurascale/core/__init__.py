"""What all apps stand on: chunks, clocks, plug-ins, errors, ids, the shape of the API."""
