"""The Firestore client, told to look for a lost server every other second."""

import grpc
from google.cloud.firestore_v1 import Client
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport

from ips_common.google_call import CHANNEL_OPTIONS


def firestore_client(project: str, database: str = "(default)") -> Client:
    """Return a client of a database, or of the emulator that FIRESTORE_EMULATOR_HOST names."""
    client = Client(project=project, database=database)
    # The client offers no way to give it a channel; it keeps one that is already there.
    host = client._target  # noqa: SLF001 - see above
    channel = (
        grpc.insecure_channel(host, options=CHANNEL_OPTIONS)
        if client._emulator_host  # noqa: SLF001 - see above
        else FirestoreGrpcTransport.create_channel(
            host,
            credentials=client._credentials,  # noqa: SLF001 - see above
            options=CHANNEL_OPTIONS,
        )
    )
    transport = FirestoreGrpcTransport(host=host, channel=channel)
    client._transport = transport  # noqa: SLF001 - see above
    client._firestore_api_internal = FirestoreClient(transport=transport)  # noqa: SLF001 - see above
    return client
