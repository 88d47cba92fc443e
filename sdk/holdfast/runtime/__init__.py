"""Runs functions under a lease: replay, checkpoints, retries, heartbeats, slots.

Everything happens on one event loop; only the bodies of synchronous steps run in threads.
"""
