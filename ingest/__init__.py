"""The live stream and the stored one."""
