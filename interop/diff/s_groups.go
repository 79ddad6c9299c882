package main

func groupScenarios() []scenario         { return nil }
func consumerGroupScenarios() []scenario { return nil }
func txnScenarios() []scenario           { return nil }
func clusterScenarios() []scenario       { return nil }
func securityScenarios() []scenario      { return nil }
