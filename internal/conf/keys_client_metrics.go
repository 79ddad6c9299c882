package conf

// clientMetricsKeys can be set on a client metrics subscription (KIP-714).
var clientMetricsKeys = []row{
	{"interval.ms", Int, "300000", anyValue, ClusterWide, Medium, Honoured,
		"How often a matching client pushes its metrics."},
	{"match", List, "", distinct, ClusterWide, Medium, Honoured,
		"Clients this subscription is for: field=pattern,...; empty is all."},
	{"metrics", List, "", distinct, ClusterWide, Medium, Honoured,
		"Prefixes of the metrics that a matching client pushes; empty is none, * all."},
}
