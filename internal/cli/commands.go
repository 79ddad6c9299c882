package cli

import "github.com/spf13/cobra"

// rootCommands is the list of top-level commands, in the order of the help.
func rootCommands(a *App) []*cobra.Command {
	return []*cobra.Command{
		inGroup(groupServer, devCmd(a)),
		inGroup(groupServer, serverCmd(a)),
		inGroup(groupServer, storageCmd(a)),
		inGroup(groupData, produceCmd(a)),
		inGroup(groupData, consumeCmd(a)),
		inGroup(groupAdmin, topicCmd(a)),
		inGroup(groupAdmin, partitionCmd(a)),
		inGroup(groupAdmin, groupCmd(a)),
		inGroup(groupAdmin, txnCmd(a)),
		inGroup(groupAdmin, userCmd(a)),
		inGroup(groupAdmin, aclCmd(a)),
		inGroup(groupAdmin, configCmd(a)),
		inGroup(groupAdmin, clusterCmd(a)),
		inGroup(groupAdmin, nodeCmd(a)),
		inGroup(groupAdmin, quorumCmd(a)),
		inGroup(groupTools, benchCmd(a)),
		inGroup(groupTools, doctorCmd(a)),
		inGroup(groupTools, debugCmd(a)),
		inGroup(groupTools, errorsCmd(a)),
		inGroup(groupTools, ctxCmd(a)),
		inGroup(groupTools, completionCmd()),
		inGroup(groupTools, versionCmd(a)),
	}
}
