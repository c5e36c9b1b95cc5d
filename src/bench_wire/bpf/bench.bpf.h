// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the programs of the throughput bench have in common.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

// Helpers by their number in linux/bpf.h, so that no libbpf headers are needed.
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define htons(value) ((__be16)__builtin_bswap16(value))
#define htonl(value) ((__be32)__builtin_bswap32(value))
#else
#define htons(value) ((__be16)(value))
#define htonl(value) ((__be32)(value))
#endif

// The IPv4 identification of frames that carry the time of their making, in ns of
// CLOCK_MONOTONIC, in the sequence and acknowledgement numbers. All others have 0.
#define STAMPED htons(0x5453)

// A frame's headers: Ethernet, IPv4 and TCP without options, as the generator makes them.
struct headers {
	struct ethhdr *ethernet;
	struct iphdr *ip;
	struct tcphdr *tcp;
};

// False if the frame is too short for them.
INLINE int headers_of(const struct xdp_md *context, struct headers *headers)
{
	headers->ethernet = (void *)(long)context->data;
	headers->ip = (void *)(headers->ethernet + 1);
	headers->tcp = (void *)(headers->ip + 1);
	return (void *)(headers->tcp + 1) <= (void *)(long)context->data_end;
}

// An Ethernet address in transmission order, as a constant that is set before loading.
struct mac {
	__u16 words[4]; // the fourth is not used
};

INLINE void write_macs(struct ethhdr *ethernet, const volatile struct mac *to, const volatile struct mac *from)
{
	__u16 *words = (__u16 *)ethernet;

	for (int i = 0; i < 3; i++) {
		words[i] = to->words[i];
		words[3 + i] = from->words[i];
	}
}

char _license[] SEC("license") = "MIT";
