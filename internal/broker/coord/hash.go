package coord

import "unicode/utf8"

// JavaHash is java.lang.String.hashCode of s: over UTF-16 code units, wrapping at 32 bits. Which
// shard a group or a transactional id lives in depends on it.
func JavaHash(s string) int32 {
	var h int32
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		if r >= 0x10000 {
			r -= 0x10000
			h = 31*h + int32(0xd800+r>>10)
			r = 0xdc00 + r&0x3ff
		}
		h = 31*h + int32(r)
	}
	return h
}

// ShardFor is the partition that Kafka puts key in when the topic has n partitions, or -1 when it
// has none. The one hash without a positive counterpart counts as 0.
func ShardFor(key string, n int32) int32 {
	if n <= 0 {
		return -1
	}
	h := JavaHash(key)
	if h == -1<<31 {
		return 0
	}
	if h < 0 {
		h = -h
	}
	return h % n
}
