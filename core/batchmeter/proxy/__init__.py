"""An OpenAI-compatible server for files and batches over every configured account: `create_app(client)`."""

from .app import Proxy, create_app
from .identity import Action, Identity
from .refusal import Refusal
from .routes import Route

__all__ = ["Action", "Identity", "Proxy", "Refusal", "Route", "create_app"]
