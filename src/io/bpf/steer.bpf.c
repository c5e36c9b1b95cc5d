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
// The farthest byte that is read: Ethernet, the longest IPv4 header, both ports. In the guard, which
// sees no tag.
#define REACH (ETH_HLEN + 60 + 4)
// The bits of a tag that identify a VLAN; the others are a priority.
#define VLAN_ID 0x0fff

// An IEEE 802.1Q tag: what follows its EtherType.
struct tag {
	__be16 control;
	__be16 protocol;
};

// IPv6 will have a map of its own with 16-byte addresses; one key for both would make every
// look-up hash 12 bytes more. Mirrored by `ServiceKey` in mod.rs.
struct service_v4 {
	__be32 address;
	__be16 port; // 0 but for ONE_PORT
	__u8 protocol;
	__u8 kind;
};

// Kind of a key. Mirrored by `KeyKind` in mod.rs.
enum {
	ONE_PORT, // a service of this port
	FRAGMENTS, // any service of this VIP: fragments have no ports
	WILDCARD_PORT, // a wildcard-port service
};

struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[131072]; // mirrored by KEYS_MAX in mod.rs
	int (*map_flags)[BPF_F_NO_PREALLOC];
	struct service_v4 *key;
	__u8 *value;
} services SEC(".maps");

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

// Locates the IPv4 header of a frame for this interface; null if it has none. A priority tag (VLAN 0) is
// skipped: the frame counts as untagged.
INLINE struct iphdr *header_of(void *data, void *end)
{
	struct ethhdr *ethernet = data;
	struct tag *tag = (void *)(ethernet + 1);

	if ((void *)(tag + 1) > end || !is_own(ethernet->h_dest))
		return 0;
	if (ethernet->h_proto == htons(ETH_P_IP))
		return (void *)tag;
	if (ethernet->h_proto != htons(ETH_P_8021Q) || tag->control & htons(VLAN_ID))
		return 0;
	return tag->protocol == htons(ETH_P_IP) ? (void *)(tag + 1) : 0;
}

// Fills in the key of a frame's service; false if it cannot have one.
INLINE int service_of(void *data, void *end, struct service_v4 *key)
{
	struct iphdr *ip = header_of(data, end);
	__be16 *ports;

	if (!ip || (void *)(ip + 1) > end)
		return 0;
	if (ip->version != 4 || ip->ihl < 5)
		return 0;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
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

INLINE int is_wanted(void *data, void *end)
{
	struct service_v4 key = {};

	if (!service_of(data, end, &key))
		return 0;
	if (bpf_map_lookup_elem(&services, &key))
		return 1;
	if (key.kind == FRAGMENTS)
		return 0;
	key.port = 0;
	key.kind = WILDCARD_PORT;
	return bpf_map_lookup_elem(&services, &key) != 0;
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
	__u32 reach = skb->len < REACH ? skb->len : REACH;

	// A frame of a VLAN device; its tag is no longer in its bytes.
	if (skb->vlan_present && skb->vlan_tci & VLAN_ID)
		return NEXT;
	// Drivers may leave headers in pages that a program cannot read directly.
	if (skb->data_end - skb->data < reach && bpf_skb_pull_data(skb, reach))
		return NEXT;
	if (is_wanted((void *)(long)skb->data, (void *)(long)skb->data_end))
		return TC_ACT_SHOT;
	return NEXT;
}
