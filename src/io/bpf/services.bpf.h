// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Maps of the services, and the look-up of a service by the key that a frame gives.

// The keys of all service maps: each key is an end of this structure. Mirrored by `Keys` in services.rs.
struct service {
	__u32 vlans; // as in struct frame
	__be32 address[4]; // IPv4-mapped for IPv4, which no IPv6 frame has
	__be16 port; // 0 but for ONE_PORT
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
	NO_KIND, // of no key in a map
};

// The map of a key. Untagged frames have a map for each family, as one key for both would make every look-up of IPv4
// hash 12 bytes more, and of IPv6 four.
enum {
	NO_MAP,
	PLAIN_V4,
	PLAIN_V6,
	TAGGED,
};

// From the last word of the address on.
struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[131072]; // mirrored by KEYS_MAX in services.rs
	int (*map_flags)[BPF_F_NO_PREALLOC];
	__u8 (*key)[8];
	__u32 *value;
} services SEC(".maps");

// From the address on.
struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[131072]; // as services
	int (*map_flags)[BPF_F_NO_PREALLOC];
	__u8 (*key)[20];
	__u32 *value;
} services_v6 SEC(".maps");

struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[131072]; // as services
	int (*map_flags)[BPF_F_NO_PREALLOC];
	struct service *key;
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

INLINE __u32 *find(struct service *key, long map)
{
	if (map == PLAIN_V4)
		return bpf_map_lookup_elem(&services, &key->address[3]);
	if (map == PLAIN_V6)
		return bpf_map_lookup_elem(&services_v6, key->address);
	return bpf_map_lookup_elem(&services_tagged, key);
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

// True if a service has this key, or the port is one of several of a service.
INLINE long is_served(struct service *key, long map)
{
	__be16 port = key->port;

	if (find(key, map))
		return 1;
	if (key->kind != ONE_PORT)
		return 0;
	key->port = 0;
	key->kind = SEVERAL_PORTS;
	return has_port(find(key, map), port);
}
