"""The HTTP API of docs/seams.md: reads requests, asks the store, answers. No decision about models is made here."""
