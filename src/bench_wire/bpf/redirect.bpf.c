// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Redirects every frame of a queue to its AF_XDP socket.

#include "bench.bpf.h"

struct {
	int (*type)[BPF_MAP_TYPE_XSKMAP];
	int (*max_entries)[64];
	__u32 *key;
	__u32 *value;
} sockets SEC(".maps");

SEC("xdp")
int bench_redirect(struct xdp_md *context)
{
	return bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);
}
