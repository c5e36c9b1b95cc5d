// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Preamble of every BPF program: sections, helpers, byte order. No libbpf headers are needed.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define SUBPROGRAM static __attribute__((noinline))
// A program may leave a helper unused.
#define HELPER static __attribute__((unused))

// Helpers by their number in linux/bpf.h.
HELPER void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
HELPER __u64 (*bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
HELPER long (*bpf_redirect_map)(void *map, __u64 key, __u64 flags) = (void *)BPF_FUNC_redirect_map;
HELPER long (*bpf_skb_pull_data)(struct __sk_buff *skb, __u32 len) = (void *)BPF_FUNC_skb_pull_data;
HELPER long (*bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 offset, const void *from, __u32 len, __u64 flags) =
	(void *)BPF_FUNC_skb_store_bytes;
HELPER long (*bpf_l3_csum_replace)(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to, __u64 size) =
	(void *)BPF_FUNC_l3_csum_replace;
HELPER long (*bpf_l4_csum_replace)(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to, __u64 flags) =
	(void *)BPF_FUNC_l4_csum_replace;
HELPER __s64 (*bpf_csum_diff)(const __be32 *from, __u32 from_size, const __be32 *to, __u32 to_size, __u32 seed) =
	(void *)BPF_FUNC_csum_diff;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define htons(value) ((__be16)__builtin_bswap16(value))
#define htonl(value) ((__be32)__builtin_bswap32(value))
#else
#define htons(value) ((__be16)(value))
#define htonl(value) ((__be32)(value))
#endif

// No program needs a helper that is reserved for the GPL.
char _license[] SEC("license") = "MIT";
