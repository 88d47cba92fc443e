"""The shipped applications, one module each; every module has `register(resonate)`."""
