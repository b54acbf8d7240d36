"""What every view of the API is, and the views of the core itself."""

from neurascale.core.views.resources import ApiView, ApiViewSet, ResourceViewSet

__all__ = ["ApiView", "ApiViewSet", "ResourceViewSet"]
