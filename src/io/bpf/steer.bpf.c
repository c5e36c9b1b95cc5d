// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Selection of the frames for virtual services, in two programs:
//
//   directrix_steer (XDP)          redirects them to the AF_XDP socket of their queue
//   directrix_guard (TCX ingress)  drops the kernel's copy, after packet sockets have had theirs; also of
//                                  what control answers for a VIP
//
// Every other frame passes unchanged.

#include "preamble.bpf.h"
#include "headers.bpf.h"
#include "services.bpf.h"
#include <linux/pkt_cls.h>

// TCX_NEXT, which headers before Linux 6.6 lack: continue with the next program.
#define NEXT TC_ACT_UNSPEC
// The farthest byte that is read of an IPv4 frame: Ethernet, the longest header, an ICMP error with a quoted
// header. In the guard, which sees no outer tag.
#define REACH (ETH_HLEN + sizeof(struct tag) + 60 + sizeof(struct icmp) + sizeof(struct iphdr))
// The same of an IPv6 frame, with the longest chain.
#define REACH_V6 (ETH_HLEN + sizeof(struct tag) + 40 + CHAIN_MAX + sizeof(struct icmp) + sizeof(struct ipv6hdr))

// Mask of the offset of an IP header: behind Ethernet and two tags at most.
#define HEADER_OFFSET 31

struct {
	int (*type)[BPF_MAP_TYPE_XSKMAP];
	int (*max_entries)[1024]; // mirrored by QUEUES_MAX in mod.rs
	__u32 *key;
	__u32 *value;
} xsks SEC(".maps");

// Frames redirected to the socket of a queue. Mirrored by `RedirectCounts` in redirected.rs.
struct redirect_counts {
	__u64 frames;
	__u64 too_long; // of these, longer than frame_max
};

struct {
	int (*type)[BPF_MAP_TYPE_PERCPU_ARRAY];
	int (*max_entries)[1024]; // as xsks
	__u32 *key;
	struct redirect_counts *value;
} redirected SEC(".maps");

// Longest frame that a socket takes, in bytes. Set before loading.
const volatile __u32 frame_max = 0xffffffff;

// MAC address of the interface, in transmission order. Set before loading, so that the verifier
// sees constants.
const volatile __be16 own_mac[4] = {};

INLINE int is_same(const __be32 *one, const __be32 *other)
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3];
}

INLINE int is_own(const void *address)
{
	const __be16 *words = address;

	return words[0] == own_mac[0] && words[1] == own_mac[1] && words[2] == own_mac[2];
}

// Kind of the key of an ICMP message: an echo request, a fragment of any message, or an error about a packet from the
// error's destination.
SUBPROGRAM long kind_of_icmp_v4(struct iphdr *ip, void *end)
{
	struct icmp *icmp = (void *)ip + ip->ihl * 4;
	struct iphdr *quoted = (void *)(icmp + 1);

	if (ip->frag_off & FRAGMENT)
		return ANSWERED;
	if ((void *)(icmp + 1) > end)
		return NO_KIND;
	if (icmp->type == ECHO_REQUEST)
		return ANSWERED;
	if (!is_error_v4(icmp->type) || (void *)(quoted + 1) > end)
		return NO_KIND;
	return quoted->version == 4 && quoted->saddr == ip->daddr ? ICMP_ERRORS : NO_KIND;
}

// Fills in the key of an IPv4 packet from the last word of the address on; false if it has none.
INLINE long key_of_v4(struct iphdr *ip, void *end, struct service *key)
{
	__be16 *ports;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return 0;
	key->address[3] = ip->daddr;
	key->protocol = ip->protocol;
	key->port = 0;
	if (!has_ports(ip->protocol)) {
		if (ip->protocol != IPPROTO_ICMP)
			return 0;
		key->kind = kind_of_icmp_v4(ip, end);
		return key->kind != NO_KIND;
	}
	if (ip->frag_off & FRAGMENT) {
		key->kind = FRAGMENTS;
		return 1;
	}
	ports = (void *)ip + ip->ihl * 4;
	if ((void *)(ports + 2) > end)
		return 0;
	key->port = ports[1];
	key->kind = ONE_PORT;
	return 1;
}

// Kind of the key of an ICMPv6 message, as of ICMP; also a neighbor solicitation, whose target becomes the address.
INLINE long kind_of_icmp_v6(struct icmp *icmp, void *end, struct service *key)
{
	struct in6_addr *target = (void *)(icmp + 1);
	struct ipv6hdr *quoted = (void *)(icmp + 1);

	if ((void *)(icmp + 1) > end)
		return NO_KIND;
	if (icmp->type == ECHO_REQUEST_V6)
		return ANSWERED;
	if (icmp->type == NEIGHBOR_SOLICITATION) {
		if ((void *)(target + 1) > end)
			return NO_KIND;
		__builtin_memcpy(key->address, target, sizeof(key->address));
		return ANSWERED;
	}
	if (!is_error_v6(icmp->type) || (void *)(quoted + 1) > end || quoted->version != 6)
		return NO_KIND;
	return is_same(quoted->saddr.s6_addr32, key->address) ? ICMP_ERRORS : NO_KIND;
}

// Fills in the key of an IPv6 packet from the address on; false if it has none.
INLINE long key_of_v6(struct ipv6hdr *ip, void *end, struct service *key)
{
	struct upper upper = {};
	__be16 *ports;

	if (!upper_of(ip, end, &upper))
		return 0;
	__builtin_memcpy(key->address, &ip->daddr, sizeof(key->address));
	key->port = 0;
	key->protocol = upper.type;
	if (upper.is_fragment) {
		key->kind = upper.type == IPPROTO_ICMPV6 ? ANSWERED : FRAGMENTS;
		// Behind another extension header the protocol is known only to the fragment that has it.
		if (is_extension(upper.type))
			key->protocol = 0;
		return upper.type == IPPROTO_ICMPV6 || has_ports(upper.type) || is_extension(upper.type);
	}
	if (upper.type == IPPROTO_ICMPV6) {
		key->kind = kind_of_icmp_v6(upper.header, end, key);
		return key->kind != NO_KIND;
	}
	ports = upper.header;
	if (!has_ports(upper.type) || (void *)(ports + 2) > end)
		return 0;
	key->port = ports[1];
	key->kind = ONE_PORT;
	return 1;
}

// Fills in the key of an IPv6 or tagged frame and returns its map. On entry the key has the outer VLAN whose tag is no
// longer in the bytes, or 0. A priority tag alone counts as none. A call of its own leaves the registers to untagged
// IPv4.
SUBPROGRAM long key_of_other(void *data, void *end, struct service *key)
{
	struct ethhdr *ethernet = data;
	struct frame frame = { .packet = ethernet + 1, .vlans = key->vlans, .type = ethernet->h_proto };

	if (!step_over_tags(&frame, end))
		return NO_MAP;
	key->vlans = frame.vlans;
	frame.packet = data + (distance(data, frame.packet) & HEADER_OFFSET);
	if (frame.type == htons(ETH_P_IPV6)) {
		if (!key_of_v6(frame.packet, end, key))
			return NO_MAP;
		return key->vlans ? TAGGED : PLAIN_V6;
	}
	if (frame.type != htons(ETH_P_IP) || !key_of_v4(frame.packet, end, key))
		return NO_MAP;
	key->address[0] = 0;
	key->address[1] = 0;
	key->address[2] = htonl(0xffff);
	return key->vlans ? TAGGED : PLAIN_V4;
}

// True for a frame to a service and, if `answered`, for one to a VIP that the kernel must not answer or route, because
// control answers it. `vlans`: of an outer tag that is no longer in the bytes.
INLINE long is_selected(void *data, void *end, __u32 vlans, int answered)
{
	struct ethhdr *ethernet = data;
	struct tag *tag = (void *)(ethernet + 1);
	struct service key;
	long map;

	if ((void *)(tag + 1) > end || !is_own(ethernet->h_dest))
		return 0;
	if (!vlans && ethernet->h_proto == htons(ETH_P_IP)) {
		if (!key_of_v4((void *)tag, end, &key) || (!answered && key.kind == ANSWERED))
			return 0;
		return is_served(&key, PLAIN_V4);
	}
	key.vlans = vlans;
	map = key_of_other(data, end, &key);
	if (map == NO_MAP || (!answered && key.kind == ANSWERED))
		return 0;
	return is_served(&key, map);
}

// Counts a redirected frame of `len` bytes. The kernel may still drop it, without a trace in the program.
INLINE void count(__u32 queue, __u32 len)
{
	struct redirect_counts *counts = bpf_map_lookup_elem(&redirected, &queue);

	if (!counts)
		return;
	counts->frames++;
	if (len > frame_max)
		counts->too_long++;
}

INLINE int steer(struct xdp_md *context)
{
	__u32 queue = context->rx_queue_index;
	int action;

	if (!is_selected((void *)(long)context->data, (void *)(long)context->data_end, 0, 0))
		return XDP_PASS;
	// Without a socket on the queue, the frame passes to the kernel.
	action = bpf_redirect_map(&xsks, queue, XDP_PASS);
	if (action == XDP_REDIRECT)
		count(queue, context->data_end - context->data);
	return action;
}

SEC("xdp")
int directrix_steer(struct xdp_md *context)
{
	return steer(context);
}

// For drivers that deliver long frames in several buffers. The first one has all headers.
SEC("xdp.frags")
int directrix_steer_frags(struct xdp_md *context)
{
	return steer(context);
}

SEC("classifier")
int directrix_guard(struct __sk_buff *skb)
{
	__u32 reach = skb->protocol == htons(ETH_P_IP) ? REACH : REACH_V6;
	__u32 vlans = 0;

	// The kernel has taken the outer tag out of the bytes.
	if (skb->vlan_present) {
		vlans = (skb->vlan_tci & VLAN_ID) << 16;
		// A priority tag beside another one, or of 802.1ad.
		if (!vlans && (is_tag(skb->protocol) || skb->vlan_proto != htons(ETH_P_8021Q)))
			return NEXT;
		if (vlans && skb->vlan_proto == htons(ETH_P_8021Q))
			vlans |= Q_IN_Q;
	}
	if (skb->len < reach)
		reach = skb->len;
	// Drivers may leave headers in pages that a program cannot read directly.
	if (skb->data_end - skb->data < reach && bpf_skb_pull_data(skb, reach))
		return NEXT;
	if (is_selected((void *)(long)skb->data, (void *)(long)skb->data_end, vlans, 1))
		return TC_ACT_SHOT;
	return NEXT;
}
