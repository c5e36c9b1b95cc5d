// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Traffic generator: turns each frame of BPF_PROG_RUN into a frame of a connection and sends it by XDP_TX. The
// kernel recycles frame buffers that the receiver has changed, so every header byte is written each time.

#include "bench.bpf.h"

// Kind of frames; mirrored by `Make` in generator.rs.
enum make {
	PRIME, // a SYN and an ACK for each connection in turn
	ESTABLISHED,
	FLOOD,
	MIXED,
};

// State of a run, set before it. Mirrored by `GeneratorState` in generator.rs, as an array of u64.
struct state {
	__u64 random; // state of xorshift64, never 0
	__u64 made; // frames of this run
	__u64 new_clients; // new clients of all floods
	__u64 make;
	__u64 stamp_every; // interval of timestamped frames; 0 for none
	__u64 until_stamp;
	__u64 start; // ns of CLOCK_MONOTONIC
	__u64 interval; // between frames, in 1/1024 ns; 0 for full speed
	__u64 burst; // frames per burst
};

struct {
	int (*type)[BPF_MAP_TYPE_ARRAY];
	int (*max_entries)[1];
	__u32 *key;
	struct state *value;
} states SEC(".maps");

// Constants of the run, set before loading. Addresses and the port are in network order.
const volatile __u32 interface = 0; // index
const volatile struct mac destination = {};
const volatile struct mac source = {};
const volatile __u32 vip = 0;
const volatile __u32 port = 0;
const volatile __u32 flows = 1;
const volatile __u32 ip_len = 0; // bytes, at most 1500

// Odd, so that multiplication modulo a power of two is a bijection.
#define SCATTER_FLOWS 0x9e3779b1u
#define SCATTER_NEW_CLIENTS 0x2545f4914f6cdd1dull
// Clients are in 10.0.0.0/8. Ports below 32768 are those of established connections, ports above those of new clients.
#define CLIENTS 0x0a000000
#define FLOW_PORT 1024 // and the 31744 above, in steps
#define NEW_CLIENT_PORT 32768 // and the 32767 above

struct client {
	__be32 address;
	__be16 port;
};

// Client of connection number `index`: 2^32 distinct clients.
INLINE struct client client_of(__u32 index)
{
	__u32 scattered = index * SCATTER_FLOWS;

	return (struct client){
		.address = htonl(CLIENTS | (scattered & 0xffffff)),
		.port = htons(FLOW_PORT + (scattered >> 24) * 124),
	};
}

// New client number `index`: the first 2^39 are distinct.
INLINE struct client new_client(__u64 index)
{
	__u64 scattered = index * SCATTER_NEW_CLIENTS;

	return (struct client){
		.address = htonl(CLIENTS | (scattered & 0xffffff)),
		.port = htons(NEW_CLIENT_PORT + ((scattered >> 24) & 0x7fff)),
	};
}

INLINE __u64 draw(struct state *state)
{
	__u64 random = state->random;

	random ^= random << 13;
	random ^= random >> 7;
	random ^= random << 17;
	state->random = random;
	return random;
}

// Chooses the frame's client and whether it opens the connection.
INLINE struct client choose(struct state *state, int *opens)
{
	__u64 number = state->made++;
	__u64 random;

	if (state->make == PRIME) {
		*opens = !(number & 1);
		return client_of(number >> 1);
	}
	random = draw(state);
	*opens = state->make == FLOOD || (state->make == MIXED && (random & 1));
	if (*opens)
		return new_client(state->new_clients++);
	return client_of(((random >> 32) * flows) >> 32);
}

// Bound of the busy wait, about 160 us: twice the longest interval that this program paces.
#define SPINS_MAX 4096

// Busy waits until a burst is due, before its first frame. Late bursts follow without a wait.
INLINE void pace(const struct state *state)
{
	__u64 due;

	if (!state->interval || state->made % (state->burst | !state->burst))
		return;
	due = state->start + (state->made * state->interval >> 10);
	for (int i = 0; i < SPINS_MAX && bpf_ktime_get_ns() < due; i++)
		;
}

INLINE int stamps(struct state *state)
{
	if (!state->stamp_every || state->until_stamp-- > 1)
		return 0;
	state->until_stamp = state->stamp_every;
	return 1;
}

// Adds two 16-bit words to a ones' complement sum (RFC 1071). `sum` overflows only after thousands of them.
INLINE __u32 add32(__u32 sum, __u32 value)
{
	return sum + (value & 0xffff) + (value >> 16);
}

INLINE __u16 complement(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

INLINE void write_ip(struct iphdr *ip, __be32 client, __be16 id)
{
	__u32 sum;

	ip->version = 4;
	ip->ihl = 5;
	ip->tos = 0;
	ip->tot_len = htons(ip_len);
	ip->id = id;
	ip->frag_off = htons(0x4000); // do not fragment
	ip->ttl = 64;
	ip->protocol = IPPROTO_TCP;
	ip->saddr = client;
	ip->daddr = vip;
	sum = htons(0x4500) + ip->tot_len + id + ip->frag_off + htons(64 << 8 | IPPROTO_TCP);
	ip->check = complement(add32(add32(sum, client), vip));
}

// The payload is zero: the checksum covers header and pseudo-header only.
INLINE void write_tcp(struct tcphdr *tcp, struct client client, int opens, __u64 numbers)
{
	__be32 *words = (__be32 *)tcp;
	__u32 sum = htons(ip_len - sizeof(struct iphdr)) + htons(IPPROTO_TCP);

	tcp->source = client.port;
	tcp->dest = port;
	tcp->seq = numbers;
	tcp->ack_seq = numbers >> 32;
	words[3] = htonl(5u << 28 | (opens ? 0x02 : 0x10) << 16 | 0xffff); // length, SYN or ACK, window
	words[4] = 0;
	sum = add32(add32(sum, client.address), vip);
	for (int i = 0; i < 4; i++)
		sum = add32(sum, words[i]);
	tcp->check = complement(sum);
}

SEC("xdp")
int bench_generate(struct xdp_md *context)
{
	struct headers frame;
	__u32 first = 0;
	struct state *state = bpf_map_lookup_elem(&states, &first);
	struct client client;
	int opens, stamped;

	// Attached to the anchor's loopback interface (anchor.rs).
	if (context->ingress_ifindex != interface)
		return XDP_PASS;
	if (!state || !headers_of(context, &frame))
		return XDP_ABORTED;
	pace(state);
	client = choose(state, &opens);
	stamped = stamps(state);
	write_macs(frame.ethernet, &destination, &source);
	frame.ethernet->h_proto = htons(ETH_P_IP);
	write_ip(frame.ip, client.address, stamped ? STAMPED : 0);
	write_tcp(frame.tcp, client, opens, stamped ? bpf_ktime_get_ns() : 1);
	return XDP_TX;
}
