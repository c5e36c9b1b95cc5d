// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Selection of the frames for virtual services, in two programs:
//
//   directrix_steer (XDP)          redirects them to the AF_XDP socket of their queue
//   directrix_guard (TCX ingress)  drops the kernel's copy, after packet sockets have had theirs
//
// Every other frame passes unchanged.

#include "preamble.bpf.h"
#include <linux/pkt_cls.h>

// TCX_NEXT, which headers before Linux 6.6 lack: continue with the next program.
#define NEXT TC_ACT_UNSPEC
// More fragments, or a fragment offset: RFC 791 section 3.1.
#define FRAGMENT htons(0x3fff)
// The same of IPv6: RFC 8200 section 4.5. Without both, the fragment is a whole packet (RFC 6946).
#define FRAGMENT_V6 htons(0xfff9)
// Most extension headers of an IPv6 packet for a service, and their longest chain in bytes.
#define EXTENSIONS_MAX 8
#define CHAIN_MAX 256
// The farthest byte that is read of an IPv4 frame: Ethernet, the longest header, both ports. In the guard,
// which sees no tag.
#define REACH (ETH_HLEN + 60 + 4)
// The same of an IPv6 frame, with the longest chain.
#define REACH_V6 (ETH_HLEN + 40 + CHAIN_MAX + 4)
// The bits of a tag that identify a VLAN; the others are a priority.
#define VLAN_ID 0x0fff

// An IEEE 802.1Q tag: what follows its EtherType.
struct tag {
	__be16 control;
	__be16 protocol;
};

// The beginning of every extension header (RFC 8200 section 4, RFC 4302 section 2). The length has a unit
// that depends on the type.
struct extension {
	__u8 next;
	__u8 length;
	__be16 fragment; // of a fragment header: offset and flags
	__be32 identification;
};

// Each family has a map of its own: one key for both would make every look-up of IPv4 hash 12 bytes more.
// Mirrored by `KeyV4` in services.rs.
struct service_v4 {
	__be32 address;
	__be16 port; // 0 but for ONE_PORT
	__u8 protocol;
	__u8 kind;
};

// Mirrored by `KeyV6` in services.rs.
struct service_v6 {
	__be32 address[4];
	__be16 port; // as in service_v4
	__u8 protocol;
	__u8 kind;
};

// Kind of a key. Mirrored by `KeyKind` in services.rs.
enum {
	ONE_PORT, // a service of this port
	FRAGMENTS, // any service of this VIP: fragments have no ports; with protocol 0, of any protocol
	WILDCARD_PORT, // a wildcard-port service
};

struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[131072]; // mirrored by KEYS_MAX in services.rs
	int (*map_flags)[BPF_F_NO_PREALLOC];
	struct service_v4 *key;
	__u8 *value;
} services SEC(".maps");

struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[131072]; // as services
	int (*map_flags)[BPF_F_NO_PREALLOC];
	struct service_v6 *key;
	__u8 *value;
} services_v6 SEC(".maps");

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
const volatile __u8 own_mac[8] = {};

INLINE int is_own(const __u8 *address)
{
	for (int i = 0; i < ETH_ALEN; i++)
		if (address[i] != own_mac[i])
			return 0;
	return 1;
}

INLINE int has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

// Fills in the key of the service of an IPv4 packet; false if it cannot have one.
INLINE int service_of_v4(void *packet, void *end, struct service_v4 *key)
{
	struct iphdr *ip = packet;
	__be16 *ports;

	if ((void *)(ip + 1) > end)
		return 0;
	if (ip->version != 4 || ip->ihl < 5)
		return 0;
	if (!has_ports(ip->protocol))
		return 0;
	key->address = ip->daddr;
	key->protocol = ip->protocol;
	if (ip->frag_off & FRAGMENT) {
		key->kind = FRAGMENTS;
		return 1;
	}
	ports = (void *)ip + ip->ihl * 4;
	if ((void *)(ports + 2) > end)
		return 0;
	key->port = ports[1];
	return 1;
}

INLINE long is_wanted_v4(void *packet, void *end)
{
	struct service_v4 key = {};

	if (!service_of_v4(packet, end, &key))
		return 0;
	if (bpf_map_lookup_elem(&services, &key))
		return 1;
	if (key.kind == FRAGMENTS)
		return 0;
	key.port = 0;
	key.kind = WILDCARD_PORT;
	return bpf_map_lookup_elem(&services, &key) != 0;
}

// Length of an extension header in bytes; 0 if `type` is none.
INLINE __u32 extension_length(__u8 type, const struct extension *header)
{
	switch (type) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
		return (header->length + 1) * 8;
	case IPPROTO_AH:
		return (header->length + 2) * 4;
	case IPPROTO_FRAGMENT:
		return 8;
	default:
		return 0;
	}
}

// Fills in the key of a fragment, whose payload begins with a header of type `next`; false if it cannot have
// one. Behind an extension header the protocol is known only to the fragment that has it.
INLINE int service_of_fragment(__u8 next, const struct extension *header, struct service_v6 *key)
{
	key->kind = FRAGMENTS;
	key->protocol = has_ports(next) ? next : 0;
	return has_ports(next) || extension_length(next, header);
}

// Fills in the key of the service of an IPv6 packet; false if it cannot have one.
INLINE int service_of_v6(void *packet, void *end, struct service_v6 *key)
{
	struct ipv6hdr *ip = packet;
	void *chain = ip + 1;
	__u32 reached = 0;
	__u8 next;

	if (chain > end || ip->version != 6)
		return 0;
	__builtin_memcpy(key->address, &ip->daddr, sizeof(key->address));
	next = ip->nexthdr;
	for (int i = 0; i <= EXTENSIONS_MAX; i++) {
		struct extension *header = chain + reached;
		__be16 *ports = (void *)header;
		__u8 type = next;

		if (has_ports(type)) {
			if ((void *)(ports + 2) > end)
				return 0;
			key->port = ports[1];
			key->protocol = type;
			return 1;
		}
		if ((void *)(header + 1) > end || !extension_length(type, header))
			return 0;
		next = header->next;
		if (type == IPPROTO_FRAGMENT && header->fragment & FRAGMENT_V6)
			return service_of_fragment(next, header, key);
		reached += extension_length(type, header);
		if (reached > CHAIN_MAX)
			return 0;
	}
	return 0;
}

INLINE long is_wanted_v6(void *packet, void *end)
{
	struct service_v6 key = {};

	if (!service_of_v6(packet, end, &key))
		return 0;
	if (bpf_map_lookup_elem(&services_v6, &key))
		return 1;
	if (key.kind == FRAGMENTS)
		return 0;
	key.port = 0;
	key.kind = WILDCARD_PORT;
	return bpf_map_lookup_elem(&services_v6, &key) != 0;
}

// A call of its own leaves the registers to untagged IPv4.
SUBPROGRAM long is_wanted_otherwise(__be16 type, struct tag *tag, void *end)
{
	void *packet = tag;

	// A priority tag (VLAN 0) is skipped: the frame counts as untagged.
	if (type == htons(ETH_P_8021Q)) {
		if (tag->control & htons(VLAN_ID))
			return 0;
		type = tag->protocol;
		packet = tag + 1;
	}
	if (type == htons(ETH_P_IPV6))
		return is_wanted_v6(packet, end);
	return type == htons(ETH_P_IP) && is_wanted_v4(packet, end);
}

INLINE long is_wanted(void *data, void *end)
{
	struct ethhdr *ethernet = data;
	struct tag *tag = (void *)(ethernet + 1);

	if ((void *)(tag + 1) > end || !is_own(ethernet->h_dest))
		return 0;
	if (ethernet->h_proto == htons(ETH_P_IP))
		return is_wanted_v4(tag, end);
	return is_wanted_otherwise(ethernet->h_proto, tag, end);
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

	if (!is_wanted((void *)(long)context->data, (void *)(long)context->data_end))
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
	__u32 reach = skb->protocol == htons(ETH_P_IPV6) ? REACH_V6 : REACH;

	// A frame of a VLAN device; its tag is no longer in its bytes.
	if (skb->vlan_present && skb->vlan_tci & VLAN_ID)
		return NEXT;
	if (skb->len < reach)
		reach = skb->len;
	// Drivers may leave headers in pages that a program cannot read directly.
	if (skb->data_end - skb->data < reach && bpf_skb_pull_data(skb, reach))
		return NEXT;
	if (is_wanted((void *)(long)skb->data, (void *)(long)skb->data_end))
		return TC_ACT_SHOT;
	return NEXT;
}
