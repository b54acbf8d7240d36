"""Settings, from the environment alone. The README's table lists every variable read here."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import tempfile
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from neurascale.openapi import SPECTACULAR_SETTINGS  # noqa: F401 (a setting)
from neurascale.portal import UNFOLD  # noqa: F401 (a setting)

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

# --- Where things live ---------------------------------------------------------------------------

HOME = Path(env.str("NEURASCALE_HOME", default=str(BASE_DIR / "var"))).expanduser().resolve()
RUN_DIR = HOME / "run"
BIND = env.str("NEURASCALE_BIND", default="127.0.0.1")
PORT = env.int("NEURASCALE_PORT", default=8000)
VIRTUAL_BOARD = env.bool("NEURASCALE_VIRTUAL_BOARD", default=True)
NEURASCALE_HOST = env.str("NEURASCALE_HOST", default=socket.gethostname())
DEBUG = env.bool("DEBUG", default=True)


# Recordings, the secret key, sockets: whatever a process of the lab writes is not for other users.
os.umask(0o077)


def secret_key(home: Path) -> str:
    """Return the key kept in the data folder, making it on the first start."""
    path = home / "secret_key"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = home / f".secret_key.{os.getpid()}"
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(64))
        try:
            os.link(fresh, path)  # the first of several processes wins
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()


if not (SECRET_KEY := env.str("SECRET_KEY", default="")):
    if not DEBUG and "NEURASCALE_HOME" not in os.environ:
        raise ImproperlyConfigured(
            "With DEBUG=0 there must be a SECRET_KEY, or a NEURASCALE_HOME to keep one in."
        )
    SECRET_KEY = secret_key(HOME)

SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
TRUSTED_PROXIES = env.int("NEURASCALE_TRUSTED_PROXIES", default=0)

# --- Parts ---------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "neurascale.apps.ThemeConfig",
    "neurascale.apps.PortalConfig",
    "neurascale.core",  # before that whose commands it notes in the audit log
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "corsheaders",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "devices",
    "sessions_app",
    "ingest",
    "neurascale.apps.NeuraScaleConfig",
]

MIDDLEWARE = [
    "neurascale.core.headers.SecurityHeadersMiddleware",
    "neurascale.core.api.RequestIdMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "neurascale.core.limit_middleware.LimitMiddleware",
    "neurascale.core.guards.GuardMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "neurascale.core.actor.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "neurascale.core.representation.RepresentationMiddleware",  # next to the views: see there
]

ROOT_URLCONF = "neurascale.urls"
WSGI_APPLICATION = "neurascale.wsgi.application"
ASGI_APPLICATION = "neurascale.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- Database: SQLite in the data folder, or whatever DATABASE_URL names -------------------------

if DATABASE_URL := env.str("DATABASE_URL", default=""):
    DATABASES = {"default": env.db_url_config(DATABASE_URL)}
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(HOME / "neurascale.sqlite3"),
        }
    }
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # What was committed survives the loss of power, and a writer waits for its turn.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-20000"
        ),
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }
    DATABASES["default"]["TEST"] = {"NAME": str(HOME / "test.sqlite3")}
    # Twice as fast where they are kept, but then a file that is put back from a backup is not seen.
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=0)
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis or Valkey: the one of `manage.py up`, or whatever REDIS_URL names ---------------------

REDIS_URL = env.str("REDIS_URL", default="")
VALKEY_IS_EMBEDDED = not REDIS_URL


def valkey_socket(home: Path) -> Path:
    """Return a path for the unix socket that fits into the kernel's 108 bytes."""
    path = home / "run" / "valkey.sock"
    if len(str(path).encode()) < 100:
        return path
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"neurascale-{digest}" / "valkey.sock"


VALKEY_SOCKET = valkey_socket(HOME)
if VALKEY_IS_EMBEDDED:
    REDIS_URL = f"unix://{VALKEY_SOCKET}"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "neurascale"},
    }
}

CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://")
CELERY_RESULT_BACKEND = CELERY_BROKER_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = 3600
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(RUN_DIR / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "reconcile": {
        "task": "ingest.tasks.reconcile",
        "schedule": 2.0,
        "options": {"expires": 2},
    },
    "prune": {
        "task": "ingest.tasks.prune",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "prune-answers": {
        "task": "neurascale.core.tasks.prune_answers",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
}

# --- The lab -------------------------------------------------------------------------------------

CHUNK_MS = env.float("NEURASCALE_CHUNK_MS", default=40.0)
KEEP_UNRECORDED_SECONDS = env.int("NEURASCALE_KEEP_SECONDS", default=3600)
RESUME_SECONDS = 3600  # a stream that nobody served for longer is not continued but begun anew
LEASE_SECONDS = 5.0
ANSWER_SECONDS = env.float("NEURASCALE_ANSWER_SECONDS", default=10.0)  # for a worker or a board
INGEST_MAX_BYTES = env.int("NEURASCALE_INGEST_MAX_BYTES", default=64 * 2**20)
# As JSON, of which Python makes up to sixteen times as much.
INGEST_MAX_JSON_BYTES = env.int("NEURASCALE_INGEST_MAX_JSON_BYTES", default=16 * 2**20)
MAX_SUBSCRIPTIONS = env.int("NEURASCALE_MAX_SUBSCRIPTIONS", default=100)

# --- API -----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "neurascale.core.auth.ClientTokenAuthentication",
        "neurascale.core.auth.PortalSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["neurascale.core.auth.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["neurascale.core.bodies.OrjsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["neurascale.core.bodies.OrjsonParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "neurascale.core.negotiation.Negotiation",
    "DEFAULT_METADATA_CLASS": "neurascale.core.options.Methods",
    "DEFAULT_SCHEMA_CLASS": "neurascale.core.openapi.schema.AutoSchema",
    "EXCEPTION_HANDLER": "neurascale.core.api.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
RATE_LIMITS = {
    "standard": env.str("NEURASCALE_LIMIT_STANDARD", default="1000/hour"),
    "bulk": env.str("NEURASCALE_LIMIT_BULK", default="100/hour"),
}
ACCESS_TOKEN_SECONDS = 30 * 60
REFRESH_TOKEN_SECONDS = 7 * 24 * 3600

# Pages of other origins that may use the API with a token; `*` is any. Never with cookies.
CORS_ORIGINS = env.list("NEURASCALE_CORS_ORIGINS", default=[])
CORS_ALLOW_ALL_ORIGINS = "*" in CORS_ORIGINS
CORS_ALLOWED_ORIGINS = [origin for origin in CORS_ORIGINS if origin != "*"]
CORS_ALLOW_CREDENTIALS = False
CORS_URLS_REGEX = r"^/(v1/|graphql)"
CORS_ALLOW_METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PATCH", "DELETE"]
CORS_ALLOW_HEADERS = [
    *("accept", "authorization", "content-encoding", "content-type", "idempotency-key"),
    *("if-match", "if-none-match", "x-request-id"),
]
CORS_EXPOSE_HEADERS = [
    *("ETag", "Idempotent-Replayed", "Location", "Retry-After", "WWW-Authenticate"),
    *("X-First-Sample", "X-Sample-Rate", "X-Request-ID"),
    *("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
]
CORS_PREFLIGHT_MAX_AGE = 600
IDEMPOTENCY_SECONDS = 24 * 3600  # how long the answer to an Idempotency-Key is kept

GRAPHQL_MAX_DEPTH = env.int("NEURASCALE_GRAPHQL_MAX_DEPTH", default=12)
GRAPHQL_MAX_COST = env.int("NEURASCALE_GRAPHQL_MAX_COST", default=20_000)

# --- Portal --------------------------------------------------------------------------------------

LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
STATIC_URL = "/static/"
STATIC_ROOT = HOME / "static"
WHITENOISE_USE_FINDERS = DEBUG
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

SECURE_CONTENT_TYPE_NOSNIFF = True
SESSION_ENGINE = "neurascale.core.portal_sessions"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
X_FRAME_OPTIONS = "DENY"
# In production everything is HTTPS: a proxy of the lab's own ends it and says so in a header, which
# is believed only where there is such a proxy.
SECURE_SSL_REDIRECT = env.bool("NEURASCALE_SSL_REDIRECT", default=not DEBUG)
SECURE_HSTS_SECONDS = env.int("NEURASCALE_HSTS_SECONDS", default=0 if DEBUG else 365 * 24 * 3600)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_SECONDS > 0
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# A lab's name is seldom a domain of its own, and browsers' preload lists take only those.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "neurascale.core.logs.RequestIdFilter"}},
    "formatters": {
        "line": {
            "()": "neurascale.core.logs.SecretsFormatter",
            "format": "%(levelname)s %(name)s [%(request_id)s]: %(message)s",
        }
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["request_id"],
        }
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django": {"handlers": [], "level": "INFO"},  # not once more by a handler of its own
        "daphne.http_protocol": {"level": "WARNING"},
        "django.channels.server": {"level": "WARNING"},
        "channels_redis.pubsub": {"level": "CRITICAL"},  # a trace a second while Valkey is away
    },
}
