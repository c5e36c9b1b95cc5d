//! AF_XDP: frames from and to the rings of a queue, by way of a steering program.
