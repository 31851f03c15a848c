package kcptransport

// Signal carries packets to a peer through somebody both can reach, for as long as there is no path: the handshake,
// and the first probe and its answer. Packets may be lost and are encrypted, so whoever carries them need not be
// trusted. Send must not block, nor keep packet; it is called from several goroutines.
type Signal interface {
	Send(packet []byte) error
}
