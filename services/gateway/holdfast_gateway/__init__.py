"""REST in front of the promise store."""
