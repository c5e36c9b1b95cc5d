// SPDX-License-Identifier: MIT OR Apache-2.0
//
// DUT in the driver: returns each frame for the service by XDP_TX, to a real server chosen by a hash of the client.
// It has no flow table and no scheduler.

#include "bench.bpf.h"

struct {
	int (*type)[BPF_MAP_TYPE_ARRAY];
	int (*max_entries)[65536];
	__u32 *key;
	struct mac *value;
} servers SEC(".maps");

const volatile struct mac own_mac = {};
const volatile __u32 vip = 0;
const volatile __u32 port = 0;
const volatile __u32 with_udp = 0; // otherwise TCP only
const volatile __u32 server_count = 1;

// Fibonacci hash, without protection against chosen addresses.
INLINE __u32 hash(__be32 address, __be16 client_port)
{
	__u64 mixed = ((__u64)address << 16 | client_port) * 0x9e3779b97f4a7c15ull;

	return mixed >> 32;
}

// UDP and TCP have their ports at the same offsets.
INLINE int is_wanted(const struct headers *frame)
{
	return frame->ethernet->h_proto == htons(ETH_P_IP) && frame->ip->version == 4 && frame->ip->ihl == 5 &&
	       (frame->ip->protocol == IPPROTO_TCP || (with_udp && frame->ip->protocol == IPPROTO_UDP)) &&
	       frame->ip->daddr == vip && frame->tcp->dest == port;
}

SEC("xdp")
int bench_hairpin(struct xdp_md *context)
{
	struct headers frame;
	struct mac *server;
	__u32 chosen;

	if (!headers_of(context, &frame) || !is_wanted(&frame))
		return XDP_PASS;
	chosen = ((__u64)hash(frame.ip->saddr, frame.tcp->source) * server_count) >> 32;
	server = bpf_map_lookup_elem(&servers, &chosen);
	if (!server)
		return XDP_DROP;
	write_macs(frame.ethernet, server, &own_mac);
	return XDP_TX;
}
