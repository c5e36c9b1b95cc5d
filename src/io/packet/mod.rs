//! AF_PACKET: frames from a memory-mapped ring, sent in batches past the queueing discipline.
