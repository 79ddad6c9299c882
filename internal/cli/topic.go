package cli

import "github.com/spf13/cobra"

func topicCmd(a *App) *cobra.Command {
	c := family("topic", "Create, inspect and change topics",
		topicListCmd(a), topicDescribeCmd(a), topicCreateCmd(a), topicAlterCmd(a),
		topicAddPartitionsCmd(a), topicTrimCmd(a), topicDeleteCmd(a))
	c.Aliases = []string{"topics"}
	c.Example = examples(
		"", "logstead topic create orders -p 6",
		"", "logstead topic describe orders",
		"", "logstead topic alter orders --set retention.ms=86400000",
		"", "logstead topic delete 'tmp-*'")
	return c
}
