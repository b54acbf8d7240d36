"""Paths under /v1/ that the list of devices answers."""

from django.urls import path

from devices.views import DeviceViewSet

devices = DeviceViewSet.as_view({"get": "list", "post": "create"})
device = DeviceViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"})

urlpatterns = [
    path("devices", devices, name="device-list"),
    # Any id, so that a malformed one is answered as an unknown one.
    path("devices/<str:device_id>", device, name="device-detail"),
]
