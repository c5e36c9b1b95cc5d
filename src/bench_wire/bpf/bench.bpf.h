// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Common definitions of the throughput bench's programs.

#include "../../io/bpf/preamble.bpf.h"
#include <linux/tcp.h>

// IPv4 identification of timestamped frames. The sequence and acknowledgement numbers hold the time of their
// creation in ns of CLOCK_MONOTONIC. All other frames have 0.
#define STAMPED htons(0x5453)

// Headers of a frame: Ethernet, IPv4 and TCP without options.
struct headers {
	struct ethhdr *ethernet;
	struct iphdr *ip;
	struct tcphdr *tcp;
};

// Locates the headers. False if the frame is too short.
INLINE int headers_of(const struct xdp_md *context, struct headers *headers)
{
	headers->ethernet = (void *)(long)context->data;
	headers->ip = (void *)(headers->ethernet + 1);
	headers->tcp = (void *)(headers->ip + 1);
	return (void *)(headers->tcp + 1) <= (void *)(long)context->data_end;
}

// An Ethernet address in transmission order, a constant set before loading.
struct mac {
	__u16 words[4]; // the fourth is unused
};

INLINE void write_macs(struct ethhdr *ethernet, const volatile struct mac *to, const volatile struct mac *from)
{
	__u16 *words = (__u16 *)ethernet;

	for (int i = 0; i < 3; i++) {
		words[i] = to->words[i];
		words[3 + i] = from->words[i];
	}
}
