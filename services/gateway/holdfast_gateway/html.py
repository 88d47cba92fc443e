"""HTML pages without scripts: a frame, and escaping for everything that is put into it."""

from html import escape as _escape

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
pre { background: #8881; padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere; }
code, pre { font-size: .9em; }
section { border-top: 1px solid #8884; margin-top: 1.5rem; }
"""


def escape(text: object) -> str:
    """Make a text harmless between tags and inside quoted attributes."""
    return _escape(str(text), quote=True)


def page(title: str, body: str) -> str:
    """Frame a body, which is HTML already; scripts and anything from elsewhere are forbidden."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )
