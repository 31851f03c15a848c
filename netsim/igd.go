package netsim

func (g *gateway) serveUPnP() {}
