// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Translation of the director's own health probes between RIP and VIP, in two programs:
//
//   probe_to_vip   (TCX egress)   sends a probe's packets for the RIP to the VIP, at the server's MAC address
//   probe_from_vip (TCX ingress)  turns replies and ICMP errors from the VIP into those of the RIP
//   probe_idle     (both)         holds their places while no check probes a VIP
//
// So a kernel socket that is connected to the RIP asks the real server for the VIP. Every other packet passes unchanged.

#include "preamble.bpf.h"
#include "headers.bpf.h"
#include <linux/pkt_cls.h>

// TCX_NEXT, which headers before Linux 6.6 lack: continue with the next program.
#define NEXT TC_ACT_UNSPEC

// Offsets in an untagged frame whose IP header has no options or extensions.
enum {
	CHECKSUM_V4 = 24,
	SOURCE_V4 = 26,
	DESTINATION_V4 = 30,
	UPPER_V4 = 34,
	SOURCE_V6 = 22,
	DESTINATION_V6 = 38,
	UPPER_V6 = 54,
	// In the packet that an ICMP error quotes.
	QUOTED_CHECKSUM_V4 = 52,
	QUOTED_DESTINATION_V4 = 58,
	QUOTED_DESTINATION_V6 = 86,
	// From the transport header on.
	CHECKSUM_TCP = 16,
	CHECKSUM_UDP = 6,
	CHECKSUM_ICMPV6 = 2,
};

// Bytes of a transport header that are read.
#define UPPER_READ 8
// The farthest byte that is read, of a packet and of an ICMP error.
#define REACH_V4 (UPPER_V4 + UPPER_READ)
#define REACH_V6 (UPPER_V6 + UPPER_READ)
#define ERROR_REACH_V4 (REACH_V4 + sizeof(struct iphdr) + UPPER_READ)
#define ERROR_REACH_V6 (REACH_V6 + sizeof(struct ipv6hdr) + UPPER_READ)

enum {
	ECHO_REPLY = 0,
	PARAMETER_PROBLEM = 12,
	ECHO_REPLY_V6 = 129,
};

// A probe's socket, and its remote end: the RIP in probe_fwd, the VIP in probe_back. Mirrored by `ProbeKey` in probe/maps.rs.
struct probe_key {
	__be32 remote[4]; // IPv4: the first word, the others are 0
	__be32 local[4];
	__be16 remote_port; // 0 for an echo request
	__be16 own_port; // or the identifier of an echo request
	__u8 protocol;
	__u8 family; // 4 or 6
	__u16 zero;
};

// Mirrored by `ProbeForward` in probe/maps.rs.
struct forward {
	__be32 vip[4];
	__u8 mac[ETH_ALEN];
	__u8 zero[2];
	__u64 sent;
	__u64 from_rip; // replies that did not come from the VIP
};

// Mirrored by `ProbeBack` in probe/maps.rs.
struct back {
	__be32 rip[4];
	__be32 sender[4]; // of the last ICMP error
	__u64 replies;
	__u64 foreign; // from another MAC address
	__u64 errors;
	__u8 mac[ETH_ALEN]; // the only one to reply
	__u8 is_over; // the socket is closed: late replies are dropped
	__u8 error_type;
	__u8 foreign_mac[ETH_ALEN];
	__u8 error_code;
	__u8 zero;
};

struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[1024]; // set before loading
	int (*map_flags)[BPF_F_NO_PREALLOC];
	struct probe_key *key;
	struct forward *value;
} probe_fwd SEC(".maps");

struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[1024]; // set before loading
	int (*map_flags)[BPF_F_NO_PREALLOC];
	struct probe_key *key;
	struct back *value;
} probe_back SEC(".maps");

// Kinds of packets.
enum {
	NO_PROBE,
	PACKET,
	ERROR_V4,
	ERROR_V6,
};

INLINE void *start(const struct __sk_buff *skb)
{
	return (void *)(long)skb->data;
}

INLINE void *end(const struct __sk_buff *skb)
{
	return (void *)(long)skb->data_end;
}

// Makes so many bytes readable; false if there are fewer. Drivers may leave headers in pages that a program cannot read
// directly.
INLINE int is_readable(struct __sk_buff *skb, __u32 bytes)
{
	if (skb->len < bytes)
		return 0;
	return skb->data_end - skb->data >= bytes || !bpf_skb_pull_data(skb, bytes);
}

INLINE int is_plain_v4(const struct iphdr *ip)
{
	return ip->version == 4 && ip->ihl == 5 && !(ip->frag_off & FRAGMENT);
}

// Fills in the ends of a transport header; false if a probe has none of its kind. `echo`: the ICMP type in this direction.
INLINE int fill_ports(struct probe_key *key, const __be16 *upper, __u8 protocol, int is_reply, __u8 echo)
{
	key->protocol = protocol;
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
		key->own_port = upper[is_reply];
		key->remote_port = upper[!is_reply];
		return 1;
	}
	key->own_port = upper[2];
	return *(const __u8 *)upper == echo && protocol == (key->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

INLINE int is_error(__u8 type)
{
	return type == UNREACHABLE || type == TIME_EXCEEDED || type == PARAMETER_PROBLEM;
}

INLINE int kind_v4(struct __sk_buff *skb, struct probe_key *key, int is_reply)
{
	struct iphdr *ip;
	struct icmp *upper;

	if (!is_readable(skb, REACH_V4) || start(skb) + REACH_V4 > end(skb))
		return NO_PROBE;
	ip = start(skb) + ETH_HLEN;
	upper = (void *)(ip + 1);
	if (!is_plain_v4(ip))
		return NO_PROBE;
	key->family = 4;
	key->remote[0] = is_reply ? ip->saddr : ip->daddr;
	key->local[0] = is_reply ? ip->daddr : ip->saddr;
	if (fill_ports(key, (void *)upper, ip->protocol, is_reply, is_reply ? ECHO_REPLY : ECHO_REQUEST))
		return PACKET;
	return is_reply && ip->protocol == IPPROTO_ICMP && is_error(upper->type) ? ERROR_V4 : NO_PROBE;
}

INLINE int kind_v6(struct __sk_buff *skb, struct probe_key *key, int is_reply)
{
	struct ipv6hdr *ip;
	struct icmp *upper;

	if (!is_readable(skb, REACH_V6) || start(skb) + REACH_V6 > end(skb))
		return NO_PROBE;
	ip = start(skb) + ETH_HLEN;
	upper = (void *)(ip + 1);
	if (ip->version != 6)
		return NO_PROBE;
	key->family = 6;
	__builtin_memcpy(key->remote, is_reply ? &ip->saddr : &ip->daddr, sizeof(key->remote));
	__builtin_memcpy(key->local, is_reply ? &ip->daddr : &ip->saddr, sizeof(key->local));
	if (fill_ports(key, (void *)upper, ip->nexthdr, is_reply, is_reply ? ECHO_REPLY_V6 : ECHO_REQUEST_V6))
		return PACKET;
	return is_reply && ip->nexthdr == IPPROTO_ICMPV6 && is_error_v6(upper->type) ? ERROR_V6 : NO_PROBE;
}

// Reads the headers of a packet. Frames of a VLAN belong to another device; a priority tag makes none.
INLINE int kind_of(struct __sk_buff *skb, struct probe_key *key, int is_reply)
{
	if (skb->vlan_present && skb->vlan_tci & VLAN_ID)
		return NO_PROBE;
	if (skb->protocol == htons(ETH_P_IP))
		return kind_v4(skb, key, is_reply);
	if (skb->protocol == htons(ETH_P_IPV6))
		return kind_v6(skb, key, is_reply);
	return NO_PROBE;
}

INLINE void count(__u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

// Writes another address into an IPv4 packet, and completes its checksums; false if the kernel refuses. An offloaded
// checksum stays to be done, and UDP without one stays so.
INLINE int replace_v4(struct __sk_buff *skb, __u32 at, __be32 old, __be32 new, __u8 protocol)
{
	__u64 flags = BPF_F_PSEUDO_HDR | sizeof(new);

	if (protocol == IPPROTO_TCP && bpf_l4_csum_replace(skb, UPPER_V4 + CHECKSUM_TCP, old, new, flags))
		return 0;
	flags |= BPF_F_MARK_MANGLED_0;
	if (protocol == IPPROTO_UDP && bpf_l4_csum_replace(skb, UPPER_V4 + CHECKSUM_UDP, old, new, flags))
		return 0;
	return !bpf_l3_csum_replace(skb, CHECKSUM_V4, old, new, sizeof(new)) &&
	       !bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0);
}

// The same for IPv6. No header checksum balances the address, so that a NIC's sum over the packet (CHECKSUM_COMPLETE) has
// to be computed again; for IPv4 that would be wrong.
INLINE int replace_v6(struct __sk_buff *skb, __u32 at, const __be32 *old, const __be32 *new, __u8 protocol)
{
	__s64 difference = bpf_csum_diff(old, 16, new, 16, 0);
	__u64 flags = BPF_F_PSEUDO_HDR;
	__u32 checksum = UPPER_V6 + CHECKSUM_ICMPV6;

	if (protocol == IPPROTO_TCP)
		checksum = UPPER_V6 + CHECKSUM_TCP;
	if (protocol == IPPROTO_UDP) {
		checksum = UPPER_V6 + CHECKSUM_UDP;
		flags |= BPF_F_MARK_MANGLED_0;
	}
	return !bpf_l4_csum_replace(skb, checksum, 0, difference, flags) &&
	       !bpf_skb_store_bytes(skb, at, new, 16, BPF_F_RECOMPUTE_CSUM);
}

// Writes another source or destination address; a false `is_source` means the latter.
INLINE int replace(struct __sk_buff *skb, int is_source, const struct probe_key *key, const __be32 *new)
{
	if (key->family == 4)
		return replace_v4(skb, is_source ? SOURCE_V4 : DESTINATION_V4, key->remote[0], new[0], key->protocol);
	return replace_v6(skb, is_source ? SOURCE_V6 : DESTINATION_V6, key->remote, new, key->protocol);
}

SEC("classifier")
int probe_idle(struct __sk_buff *skb)
{
	(void)skb;
	return NEXT;
}

SEC("classifier")
int probe_to_vip(struct __sk_buff *skb)
{
	struct probe_key key = {};
	struct forward *forward;

	if (kind_of(skb, &key, 0) != PACKET)
		return NEXT;
	forward = bpf_map_lookup_elem(&probe_fwd, &key);
	if (!forward)
		return NEXT;
	// A frame that is half translated must not leave.
	if (bpf_skb_store_bytes(skb, 0, forward->mac, ETH_ALEN, 0) || !replace(skb, 0, &key, forward->vip))
		return TC_ACT_SHOT;
	count(&forward->sent);
	return NEXT;
}

// True for a frame of the MAC address that is to reply, for a socket that still waits.
INLINE int is_accepted(const struct __sk_buff *skb, struct back *back)
{
	struct ethhdr *ethernet = start(skb);
	const __be16 *source, *expected = (void *)back->mac;

	if (back->is_over || (void *)(ethernet + 1) > end(skb))
		return 0;
	source = (void *)ethernet->h_source;
	if (source[0] == expected[0] && source[1] == expected[1] && source[2] == expected[2])
		return 1;
	__builtin_memcpy(back->foreign_mac, ethernet->h_source, ETH_ALEN);
	count(&back->foreign);
	return 0;
}

// A reply of the VIP. One of the RIP would reach the socket, though clients get none from there.
INLINE int from_vip(struct __sk_buff *skb, const struct probe_key *key)
{
	struct back *back = bpf_map_lookup_elem(&probe_back, key);
	struct forward *forward;

	if (back) {
		if (!is_accepted(skb, back) || !replace(skb, 1, key, back->rip))
			return TC_ACT_SHOT;
		count(&back->replies);
		return NEXT;
	}
	forward = bpf_map_lookup_elem(&probe_fwd, key);
	if (!forward)
		return NEXT;
	count(&forward->from_rip);
	return TC_ACT_SHOT;
}

INLINE void note_error(struct back *back, const struct icmp *icmp)
{
	back->error_type = icmp->type;
	back->error_code = icmp->code;
	count(&back->errors);
}

// An ICMP error about a probe's packet. The changes of the quoted header and of its checksum balance each other in the
// ICMP checksum; the quoted transport checksum is verified by no receiver.
INLINE int from_error_v4(struct __sk_buff *skb)
{
	struct probe_key key = { .family = 4 };
	struct iphdr *outer, *quoted;
	struct icmp *icmp;
	struct back *back;
	__be32 vip, rip, sender;

	if (!is_readable(skb, ERROR_REACH_V4) || start(skb) + ERROR_REACH_V4 > end(skb))
		return NEXT;
	outer = start(skb) + ETH_HLEN;
	icmp = (void *)(outer + 1);
	quoted = (void *)(icmp + 1);
	if (!is_plain_v4(quoted) || outer->daddr != quoted->saddr)
		return NEXT;
	key.remote[0] = vip = quoted->daddr;
	key.local[0] = quoted->saddr;
	if (!fill_ports(&key, (void *)(quoted + 1), quoted->protocol, 0, ECHO_REQUEST))
		return NEXT;
	back = bpf_map_lookup_elem(&probe_back, &key);
	if (!back)
		return NEXT;
	if (!is_accepted(skb, back))
		return TC_ACT_SHOT;
	back->sender[0] = sender = outer->saddr;
	note_error(back, icmp);
	rip = back->rip[0];
	if (bpf_l3_csum_replace(skb, QUOTED_CHECKSUM_V4, vip, rip, sizeof(rip)) ||
	    bpf_skb_store_bytes(skb, QUOTED_DESTINATION_V4, &rip, sizeof(rip), 0))
		return TC_ACT_SHOT;
	if (sender == vip && !replace_v4(skb, SOURCE_V4, vip, rip, IPPROTO_ICMP))
		return TC_ACT_SHOT;
	return NEXT;
}

INLINE int is_same_v6(const __be32 *one, const __be32 *other)
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3];
}

// The same for ICMPv6, whose checksum takes up the change of the quoted address.
INLINE int from_error_v6(struct __sk_buff *skb)
{
	struct probe_key key = { .family = 6 };
	struct ipv6hdr *outer, *quoted;
	struct icmp *icmp;
	struct back *back;
	__s64 difference;

	if (!is_readable(skb, ERROR_REACH_V6) || start(skb) + ERROR_REACH_V6 > end(skb))
		return NEXT;
	outer = start(skb) + ETH_HLEN;
	icmp = (void *)(outer + 1);
	quoted = (void *)(icmp + 1);
	if (quoted->version != 6 || !is_same_v6(outer->daddr.s6_addr32, quoted->saddr.s6_addr32))
		return NEXT;
	__builtin_memcpy(key.remote, &quoted->daddr, sizeof(key.remote));
	__builtin_memcpy(key.local, &quoted->saddr, sizeof(key.local));
	if (!fill_ports(&key, (void *)(quoted + 1), quoted->nexthdr, 0, ECHO_REQUEST_V6))
		return NEXT;
	back = bpf_map_lookup_elem(&probe_back, &key);
	if (!back)
		return NEXT;
	if (!is_accepted(skb, back))
		return TC_ACT_SHOT;
	__builtin_memcpy(back->sender, &outer->saddr, sizeof(back->sender));
	note_error(back, icmp);
	difference = bpf_csum_diff(key.remote, 16, back->rip, 16, 0);
	if (bpf_l4_csum_replace(skb, UPPER_V6 + CHECKSUM_ICMPV6, 0, difference, 0) ||
	    bpf_skb_store_bytes(skb, QUOTED_DESTINATION_V6, back->rip, 16, 0))
		return TC_ACT_SHOT;
	if (is_same_v6(back->sender, key.remote) &&
	    !replace_v6(skb, SOURCE_V6, key.remote, back->rip, IPPROTO_ICMPV6))
		return TC_ACT_SHOT;
	return NEXT;
}

SEC("classifier")
int probe_from_vip(struct __sk_buff *skb)
{
	struct probe_key key = {};

	switch (kind_of(skb, &key, 1)) {
	case PACKET:
		return from_vip(skb, &key);
	case ERROR_V4:
		return from_error_v4(skb);
	case ERROR_V6:
		return from_error_v6(skb);
	}
	return NEXT;
}
