package kcptransport

import "time"

// LinkStats are the counters of a link since it began.
type LinkStats struct {
	PacketsSent, PacketsReceived uint64        // UDP datagrams, handshake not counted
	BytesSent, BytesReceived     uint64        // UDP payload
	PacketsLost                  uint64        // stream segments that had to be sent again
	DatagramsDropped             uint64        // received and not fetched in time
	PacketsRefused               uint64        // received but not authentic, replayed or malformed
	QueueDropped                 uint64        // received faster than they could be handled
	PathChanges                  uint64        // how often the path in use changed
	Streams                      int           // open now
	RTT                          time.Duration // smoothed round trip of the path in use, 0 when not measured
	Loss                         float64       // part of the stream segments that were lost, 0 to 1
	DeliveryRate                 float64       // bytes a second of stream segments that the path in use takes, as estimated; 0 when not known
}
