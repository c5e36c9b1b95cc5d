// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Sink: counts arriving frames and their latencies, and drops them.

#include "bench.bpf.h"

// Mirrored by sink.rs: a per-CPU array of u64.
enum counter {
	DELIVERED, // from the DUT to a real server
	ASTRAY, // other IPv4
	OTHER, // not IPv4, such as ARP
	COUNTERS,
};

struct {
	int (*type)[BPF_MAP_TYPE_PERCPU_ARRAY];
	int (*max_entries)[COUNTERS];
	__u32 *key;
	__u64 *value;
} counters SEC(".maps");

// Delivered frames by real server.
struct {
	int (*type)[BPF_MAP_TYPE_PERCPU_ARRAY];
	int (*max_entries)[65536];
	__u32 *key;
	__u64 *value;
} by_server SEC(".maps");

// Timestamped frames by latency: 128 buckets for each power of two, as in histogram.rs.
#define STEP_BITS 7
#define BUCKETS 4096
struct {
	int (*type)[BPF_MAP_TYPE_PERCPU_ARRAY];
	int (*max_entries)[BUCKETS];
	__u32 *key;
	__u64 *value;
} latencies SEC(".maps");

const volatile struct mac dut = {};
const volatile struct mac own_mac = {}; // of the interface
const volatile __u32 servers = 0;

INLINE void count(void *map, __u32 key)
{
	__u64 *value = bpf_map_lookup_elem(map, &key);

	if (value)
		(*value)++;
}

// Floor of the binary logarithm; `value` is not 0.
INLINE __u32 logarithm(__u64 value)
{
	__u32 log = 0;

	for (int bits = 32; bits; bits >>= 1)
		if (value >> bits) {
			value >>= bits;
			log += bits;
		}
	return log;
}

INLINE __u32 bucket_of(__u64 ns)
{
	__u32 exponent = 0, bucket;

	if (ns >> (STEP_BITS + 1))
		exponent = logarithm(ns) - STEP_BITS;
	bucket = (exponent << STEP_BITS) + (ns >> exponent);
	return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

INLINE int is(const __u16 *words, const volatile struct mac *mac)
{
	return words[0] == mac->words[0] && words[1] == mac->words[1] && words[2] == mac->words[2];
}

// Number of the real server that this frame is addressed to, or -1. The address of server N is 02:00:5e:00 and N
// (`server_mac` in dut/setup.rs). The interface's own address stands for the first server.
INLINE int server_of(const struct ethhdr *ethernet)
{
	const __u16 *to = (const __u16 *)ethernet, *from = to + 3;
	__u32 number = ethernet->h_dest[4] << 8 | ethernet->h_dest[5];

	if (!is(from, &dut))
		return -1;
	if (to[0] == htons(0x0200) && to[1] == htons(0x5e00) && number < servers)
		return number;
	return is(to, &own_mac) ? 0 : -1;
}

SEC("xdp")
int bench_sink(struct xdp_md *context)
{
	struct headers frame;
	int server;

	if (!headers_of(context, &frame) || frame.ethernet->h_proto != htons(ETH_P_IP)) {
		count(&counters, OTHER);
		return XDP_DROP;
	}
	server = server_of(frame.ethernet);
	if (server < 0) {
		count(&counters, ASTRAY);
		return XDP_DROP;
	}
	count(&counters, DELIVERED);
	count(&by_server, server);
	if (frame.ip->id == STAMPED) {
		__u64 stamp = frame.tcp->seq | (__u64)frame.tcp->ack_seq << 32;

		count(&latencies, bucket_of(bpf_ktime_get_ns() - stamp));
	}
	return XDP_DROP;
}
