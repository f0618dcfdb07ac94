module llmtap.test/client

go 1.17
