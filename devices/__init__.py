"""From the port to microvolts."""
