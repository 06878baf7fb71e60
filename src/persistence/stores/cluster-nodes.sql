-- Every node that has a row, by name; the rest of a lease that is over is zero or below.
select boot_id as "bootId", name, version, peer_host as "peerHost", peer_port as "peerPort", http_url as "httpUrl", state,
  drain_requested as "drainRequested", started_at as "startedAt", lease_until - tmcp_now_ms() as "leaseLeftMs", load
from nodes order by name, boot_id
