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
#include <linux/pkt_cls.h>

// TCX_NEXT, which headers before Linux 6.6 lack: continue with the next program.
#define NEXT TC_ACT_UNSPEC
// The farthest byte that is read of an IPv4 frame: Ethernet, the longest header, an ICMP error with a quoted
// header. In the guard, which sees no outer tag.
#define REACH (ETH_HLEN + sizeof(struct tag) + 60 + sizeof(struct icmp) + sizeof(struct iphdr))
// The same of an IPv6 frame, with the longest chain.
#define REACH_V6 (ETH_HLEN + sizeof(struct tag) + 40 + CHAIN_MAX + sizeof(struct icmp) + sizeof(struct ipv6hdr))

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

// Key of a tagged frame. Mirrored by `tagged_key` in services.rs.
struct service_tagged {
	__be32 address[4]; // IPv4-mapped for IPv4, which no IPv6 frame has
	__u32 vlans; // as in struct tagged
	__be16 port; // as in service_v4
	__u8 protocol;
	__u8 kind;
};

// Kind of a key. Mirrored by `KeyKind` in services.rs.
enum {
	ONE_PORT, // a service of this port
	FRAGMENTS, // any service of this VIP: fragments have no ports; with protocol 0, of any protocol
	SEVERAL_PORTS, // services of several ports: the value is the number of a set
	ICMP_ERRORS, // any service of this VIP: errors about packets from it
	ANSWERED, // a VIP that is no address of the kernel: control answers its echo requests and solicitations
};

struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[131072]; // mirrored by KEYS_MAX in services.rs
	int (*map_flags)[BPF_F_NO_PREALLOC];
	struct service_v4 *key;
	__u32 *value;
} services SEC(".maps");

struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[131072]; // as services
	int (*map_flags)[BPF_F_NO_PREALLOC];
	struct service_v6 *key;
	__u32 *value;
} services_v6 SEC(".maps");

struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[131072]; // as services
	int (*map_flags)[BPF_F_NO_PREALLOC];
	struct service_tagged *key;
	__u32 *value;
} services_tagged SEC(".maps");

// Number of the set of every port, which is in no map. Mirrored in port_sets.rs.
#define EVERY_PORT 0

// A bit for each port. Mirrored by `Bits` in port_sets.rs.
struct port_set {
	__u64 words[1024];
};

struct {
	int (*type)[BPF_MAP_TYPE_ARRAY];
	int (*max_entries)[129]; // mirrored by ENTRIES in port_sets.rs
	__u32 *key;
	struct port_set *value;
} port_sets SEC(".maps");

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

INLINE __u32 *find_v4(const struct service_v4 *of, __u32 vlans)
{
	struct service_tagged key = {
		.address = { 0, 0, htonl(0xffff), of->address },
		.vlans = vlans,
		.port = of->port,
		.protocol = of->protocol,
		.kind = of->kind,
	};

	if (!vlans)
		return bpf_map_lookup_elem(&services, of);
	return bpf_map_lookup_elem(&services_tagged, &key);
}

INLINE __u32 *find_v6(const struct service_v6 *of, __u32 vlans)
{
	struct service_tagged key = {
		.vlans = vlans,
		.port = of->port,
		.protocol = of->protocol,
		.kind = of->kind,
	};

	if (!vlans)
		return bpf_map_lookup_elem(&services_v6, of);
	__builtin_memcpy(key.address, of->address, sizeof(key.address));
	return bpf_map_lookup_elem(&services_tagged, &key);
}

// True if a port is in the set of this number.
INLINE long has_port(const __u32 *number, __be16 port)
{
	struct port_set *set;

	if (!number || *number == EVERY_PORT)
		return number != 0;
	set = bpf_map_lookup_elem(&port_sets, number);
	return set && set->words[htons(port) / 64] >> htons(port) % 64 & 1;
}

// Fills in the key of an ICMP error about a packet from the error's destination; false if it is none.
SUBPROGRAM long error_of_v4(struct iphdr *ip, void *end, struct service_v4 *key)
{
	struct icmp *icmp;
	struct iphdr *quoted;

	if ((void *)(ip + 1) > end || ip->protocol != IPPROTO_ICMP || ip->frag_off & FRAGMENT)
		return 0;
	icmp = (void *)ip + ip->ihl * 4;
	quoted = (void *)(icmp + 1);
	if ((void *)(quoted + 1) > end || !is_error_v4(icmp->type))
		return 0;
	if (quoted->version != 4 || quoted->saddr != ip->daddr)
		return 0;
	key->address = ip->daddr;
	key->protocol = IPPROTO_ICMP;
	key->kind = ICMP_ERRORS;
	return 1;
}

// Fills in the key of the service of an IPv4 packet; false if it cannot have one.
INLINE long service_of_v4(void *packet, void *end, struct service_v4 *key)
{
	struct iphdr *ip = packet;
	__be16 *ports;

	if ((void *)(ip + 1) > end)
		return 0;
	if (ip->version != 4 || ip->ihl < 5)
		return 0;
	if (!has_ports(ip->protocol))
		return error_of_v4(ip, end, key);
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

INLINE long is_wanted_v4(void *packet, void *end, __u32 vlans)
{
	struct service_v4 key = {};
	__be16 port;

	if (!service_of_v4(packet, end, &key))
		return 0;
	if (find_v4(&key, vlans))
		return 1;
	if (key.kind != ONE_PORT)
		return 0;
	port = key.port;
	key.port = 0;
	key.kind = SEVERAL_PORTS;
	return has_port(find_v4(&key, vlans), port);
}

// Fills in the key of an ICMPv6 error about a packet from the error's destination; false if it is none.
SUBPROGRAM long error_of_v6(struct ipv6hdr *ip, void *header, void *end, struct service_v6 *key)
{
	struct icmp *icmp = header;
	struct ipv6hdr *quoted = (void *)(icmp + 1);

	if ((void *)(ip + 1) > end || (void *)(quoted + 1) > end)
		return 0;
	if (!is_error_v6(icmp->type) || quoted->version != 6)
		return 0;
	for (int i = 0; i < 4; i++)
		if (quoted->saddr.s6_addr32[i] != ip->daddr.s6_addr32[i])
			return 0;
	key->protocol = IPPROTO_ICMPV6;
	key->kind = ICMP_ERRORS;
	return 1;
}

// Fills in the key of the service of an IPv6 packet; false if it cannot have one.
INLINE long service_of_v6(void *packet, void *end, struct service_v6 *key)
{
	struct ipv6hdr *ip = packet;
	struct upper upper = {};
	__be16 *ports;

	if (!upper_of(ip, end, &upper))
		return 0;
	__builtin_memcpy(key->address, &ip->daddr, sizeof(key->address));
	if (upper.is_fragment) {
		// Behind another extension header the protocol is known only to the fragment that has it.
		key->kind = FRAGMENTS;
		key->protocol = has_ports(upper.type) ? upper.type : 0;
		return has_ports(upper.type) || is_extension(upper.type);
	}
	if (upper.type == IPPROTO_ICMPV6)
		return error_of_v6(ip, upper.header, end, key);
	ports = upper.header;
	if (!has_ports(upper.type) || (void *)(ports + 2) > end)
		return 0;
	key->port = ports[1];
	key->protocol = upper.type;
	return 1;
}

INLINE long is_wanted_v6(void *packet, void *end, __u32 vlans)
{
	struct service_v6 key = {};
	__be16 port;

	if (!service_of_v6(packet, end, &key))
		return 0;
	if (find_v6(&key, vlans))
		return 1;
	if (key.kind != ONE_PORT)
		return 0;
	port = key.port;
	key.port = 0;
	key.kind = SEVERAL_PORTS;
	return has_port(find_v6(&key, vlans), port);
}

// True for an ICMP echo request to a VIP of kind ANSWERED, and a fragment of any ICMP message to it.
INLINE long is_answered_v4(void *packet, void *end, __u32 vlans)
{
	struct service_v4 key = { .protocol = IPPROTO_ICMP, .kind = ANSWERED };
	struct iphdr *ip = packet;
	struct icmp *icmp;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5 || ip->protocol != IPPROTO_ICMP)
		return 0;
	icmp = (void *)ip + ip->ihl * 4;
	if (!(ip->frag_off & FRAGMENT) && ((void *)(icmp + 1) > end || icmp->type != ECHO_REQUEST))
		return 0;
	key.address = ip->daddr;
	return find_v4(&key, vlans) != 0;
}

// The same of ICMPv6, and for a neighbor solicitation whose target is the VIP.
SUBPROGRAM long is_answered_v6(void *packet, void *end, __u32 vlans)
{
	struct service_v6 key = { .protocol = IPPROTO_ICMPV6, .kind = ANSWERED };
	struct ipv6hdr *ip = packet;
	struct upper upper = {};
	struct in6_addr *vip = &ip->daddr;
	struct icmp *icmp;

	if (!upper_of(ip, end, &upper) || upper.type != IPPROTO_ICMPV6)
		return 0;
	icmp = upper.header;
	if (!upper.is_fragment) {
		if ((void *)(icmp + 1) > end)
			return 0;
		if (icmp->type == NEIGHBOR_SOLICITATION)
			vip = (void *)(icmp + 1);
		else if (icmp->type != ECHO_REQUEST_V6)
			return 0;
	}
	if ((void *)(vip + 1) > end)
		return 0;
	__builtin_memcpy(key.address, vip, sizeof(key.address));
	return find_v6(&key, vlans) != 0;
}

// A call of its own leaves the registers to untagged IPv4.
SUBPROGRAM long is_wanted_plain_v6(void *packet, void *end)
{
	return is_wanted_v6(packet, end, 0);
}

// The same of a frame with tags in its bytes, or of `vlans`. A priority tag alone counts as none.
SUBPROGRAM long is_wanted_tagged(__be16 type, void *packet, void *end, __u32 vlans)
{
	struct tagged frame = { .packet = packet, .vlans = vlans, .type = type };

	if (!step_over_tags(&frame, end))
		return 0;
	if (frame.type == htons(ETH_P_IPV6))
		return is_wanted_v6(frame.packet, end, frame.vlans);
	return frame.type == htons(ETH_P_IP) && is_wanted_v4(frame.packet, end, frame.vlans);
}

// `vlans`: of an outer tag that is no longer in the bytes.
INLINE long is_wanted(void *data, void *end, __u32 vlans)
{
	struct ethhdr *ethernet = data;
	struct tag *tag = (void *)(ethernet + 1);

	if ((void *)(tag + 1) > end || !is_own(ethernet->h_dest))
		return 0;
	if (!vlans && ethernet->h_proto == htons(ETH_P_IP))
		return is_wanted_v4(tag, end, 0);
	if (!vlans && ethernet->h_proto == htons(ETH_P_IPV6))
		return is_wanted_plain_v6(tag, end);
	if (!vlans && !is_tag(ethernet->h_proto))
		return 0;
	return is_wanted_tagged(ethernet->h_proto, tag, end, vlans);
}

// True for a frame to a VIP that the kernel must not answer or route, because control answers it.
INLINE long is_answered(void *data, void *end, __u32 vlans)
{
	struct ethhdr *ethernet = data;
	struct tagged frame = { .packet = ethernet + 1, .vlans = vlans };

	if ((void *)(ethernet + 1) > end || !is_own(ethernet->h_dest))
		return 0;
	frame.type = ethernet->h_proto;
	if (vlans && !step_over_tags(&frame, end))
		return 0;
	if (frame.type == htons(ETH_P_IP))
		return is_answered_v4(frame.packet, end, frame.vlans);
	return frame.type == htons(ETH_P_IPV6) && is_answered_v6(frame.packet, end, frame.vlans);
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

	if (!is_wanted((void *)(long)context->data, (void *)(long)context->data_end, 0))
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
		if (!vlans && is_tag(skb->protocol))
			return NEXT;
	}
	if (skb->len < reach)
		reach = skb->len;
	// Drivers may leave headers in pages that a program cannot read directly.
	if (skb->data_end - skb->data < reach && bpf_skb_pull_data(skb, reach))
		return NEXT;
	if (is_wanted((void *)(long)skb->data, (void *)(long)skb->data_end, vlans))
		return TC_ACT_SHOT;
	return is_answered((void *)(long)skb->data, (void *)(long)skb->data_end, vlans) ? TC_ACT_SHOT : NEXT;
}
