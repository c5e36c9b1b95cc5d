// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Headers of frames, as far as the programs read them.

#include <linux/ipv6.h>

// More fragments, or a fragment offset: RFC 791 section 3.1.
#define FRAGMENT htons(0x3fff)
// The same of IPv6: RFC 8200 section 4.5. Without both, the fragment is a whole packet (RFC 6946).
#define FRAGMENT_V6 htons(0xfff9)
// Most extension headers of an IPv6 packet for a service, and their longest chain in bytes.
#define EXTENSIONS_MAX 8
#define CHAIN_MAX 256
// The bits of a tag that identify a VLAN; the others are a priority.
#define VLAN_ID 0x0fff

// ICMP (RFC 792) and ICMPv6 (RFC 4443, RFC 4861). Linux' own headers pull in those of a C library.
enum {
	UNREACHABLE = 3,
	SOURCE_QUENCH = 4,
	ECHO_REQUEST = 8,
	TIME_EXCEEDED = 11,
	UNREACHABLE_V6 = 1,
	PARAMETER_PROBLEM_V6 = 4,
	ECHO_REQUEST_V6 = 128,
	NEIGHBOR_SOLICITATION = 135,
};

// The beginning of every message of both.
struct icmp {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

// An IEEE 802.1Q or 802.1ad tag: what follows its EtherType.
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

INLINE int is_tag(__be16 type)
{
	return type == htons(ETH_P_8021Q) || type == htons(ETH_P_8021AD);
}

INLINE int has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

// Types that IPVS directs.
INLINE int is_error_v4(__u8 type)
{
	return type == UNREACHABLE || type == SOURCE_QUENCH || type == TIME_EXCEEDED;
}

// Destination unreachable, packet too big, time exceeded, parameter problem.
INLINE int is_error_v6(__u8 type)
{
	return type >= UNREACHABLE_V6 && type <= PARAMETER_PROBLEM_V6;
}

INLINE int is_extension(__u8 type)
{
	return type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING || type == IPPROTO_DSTOPTS ||
	       type == IPPROTO_AH || type == IPPROTO_FRAGMENT;
}

// Length of an extension header of this type in bytes.
INLINE __u32 extension_length(__u8 type, const struct extension *header)
{
	if (type == IPPROTO_FRAGMENT)
		return 8;
	return type == IPPROTO_AH ? (header->length + 2) * 4 : (header->length + 1) * 8;
}

// The header behind all extension headers.
struct upper {
	void *header;
	__u8 type;
	__u8 is_fragment; // of a packet; `type` may be that of an extension header
};

// Bytes from `from` to `to`, of which the verifier knows no bounds: it tracks no difference of pointers. Paths that
// differ in it alone are checked once, where without it each has a state of its own. The empty instruction keeps clang
// from computing a constant.
INLINE __u64 distance(void *from, void *to)
{
	asm volatile("" : "+r"(to));
	return to - from;
}

// Steps over the extension headers of an IPv6 packet; false if it is none, or its chain is cut or too long.
INLINE long upper_of(struct ipv6hdr *ip, void *end, struct upper *upper)
{
	void *chain = ip + 1;
	__u64 reached = 0;

	if (chain > end || ip->version != 6)
		return 0;
	upper->type = ip->nexthdr;
	for (int i = 0; i <= EXTENSIONS_MAX; i++) {
		struct extension *header = chain + reached;
		__u8 type = upper->type;

		upper->header = header;
		if (!is_extension(type))
			return 1;
		if ((void *)(header + 1) > end)
			return 0;
		upper->type = header->next;
		if (type == IPPROTO_FRAGMENT && header->fragment & FRAGMENT_V6) {
			upper->is_fragment = 1;
			return 1;
		}
		reached = distance(chain, (void *)header + extension_length(type, header));
		if (reached > CHAIN_MAX)
			return 0;
	}
	return 0;
}

// Two tags of 802.1Q, where the outer one is of 802.1ad otherwise.
#define Q_IN_Q (1U << 31)

// A packet and its VLANs, as `Vlans::code` of vlan.rs has them: the outer one's identifier in the upper 16 bits, the inner
// one's in the lower, and Q_IN_Q. 0: none.
struct frame {
	void *packet;
	__u32 vlans;
	__be16 type;
};

// Steps over the tags. `vlans` may have an outer tag that is no longer in the bytes, with Q_IN_Q if it is one of 802.1Q.
// False for a cut tag, for a priority tag beside another one, and for a tag of 802.1ad alone or inside; a third tag
// remains as the type.
INLINE long step_over_tags(struct frame *frame, void *end)
{
	struct tag *tag = frame->packet;
	__u32 outer = frame->vlans, id;
	long is_q = frame->type == htons(ETH_P_8021Q);

	if (!is_tag(frame->type)) {
		frame->vlans = outer & ~Q_IN_Q;
		return !outer || outer & Q_IN_Q;
	}
	if ((void *)(tag + 1) > end)
		return 0;
	id = htons(tag->control) & VLAN_ID;
	if (!outer && !is_tag(tag->protocol)) {
		frame->packet = tag + 1;
		frame->type = tag->protocol;
		frame->vlans = id << 16;
		return is_q;
	}
	if (!outer) {
		outer = id << 16 | (is_q ? Q_IN_Q : 0);
		is_q = tag->protocol == htons(ETH_P_8021Q);
		tag++;
		if (!id || (void *)(tag + 1) > end)
			return 0;
		id = htons(tag->control) & VLAN_ID;
	}
	frame->packet = tag + 1;
	frame->type = tag->protocol;
	frame->vlans = outer | id;
	return is_q && id;
}
