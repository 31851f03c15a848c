package punch

// Meaning says in plain English which peers can be reached directly over IPv4 from behind such a NAT, as far as can be
// reasoned (RFC 4787); what is tried does not depend on it.
func (n NAT) Meaning() string {
	free := n.Filtering.Is == EndpointIndependent
	byAddress := n.Filtering.Is == AddressDependent
	switch {
	case n.Mapping.Is == Unknown:
		return "Too little is known: two STUN servers at different addresses must answer, or one that has two (is UDP allowed here?)."
	case n.Mapping.Is == NoTranslation && free:
		return "Nothing is in the way: every peer can reach this host directly."
	case n.Mapping.Is == NoTranslation && n.Filtering.Is == Unknown:
		return "There is no NAT: every peer can reach this host directly, unless a firewall wants us to send first."
	case n.Mapping.Is <= EndpointIndependent && free:
		return "Every peer that learns the public address can reach this host directly."
	case n.Mapping.Is <= EndpointIndependent && byAddress:
		return "Direct links work with every peer when both sides send at the same moment, as xppg does."
	case n.Mapping.Is <= EndpointIndependent:
		return "Direct links work with most peers when both sides send at the same moment, as xppg does; not with those " +
			"whose port changes with the destination, unless they can be predicted."
	case n.Step.Confidence > 0.5 || n.Block.Confidence > 0.5:
		return "The port changes with the destination, in a way that can be guessed: direct links work with peers in the open " +
			"or behind lenient NATs, others take port prediction or a relay."
	}
	return "The port changes with the destination: direct links work with peers in the open or behind NATs that do not filter " +
		"by port, others take a relay."
}
