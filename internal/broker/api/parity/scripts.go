package parity

// Scripts are all there is to ask.
var Scripts = []Script{
	createTopicsScript, deleteTopicsScript, createPartitionsScript, deleteRecordsScript,
	describeConfigsScript, alterConfigsScript, incrementalScript,
	clusterScript, logDirsScript, partitionsScript, securityScript, quotasScript,
}
