# Completion for fastio 0.1.0. Made by "make generate"; do not edit.

Register-ArgumentCompleter -Native -CommandName fastio -ScriptBlock {
    param($current, $ast, $cursor)

    # What may stand at a place: the next words after a group, the options of "COMMAND -", the value
    # of "COMMAND --OPTION", argument N of "COMMAND N". Words with their help, or :KIND.
    $table = @{
        '' = @{ 'workspace' = 'Create, list and remove workspaces'; 'state' = 'Read and change JSON state objects'; 'file' = 'Store, read and manage files'; 'lock' = 'Take turns: exclusive locks that expire'; 'event' = 'Read and watch the log of all changes'; 'audit' = 'Prove that the log was not tampered with'; 'org' = 'Share a server: orgs, and handing one over'; 'member' = 'Give people and agents their roles'; 'token' = 'Make and end the tokens that let them in'; 'index' = 'Look after the search index'; 'import' = 'Fetch files from URLs into the workspace: fastio import URL...'; 'job' = 'Look after the work that is done in the background'; 'store' = 'Move whole stores between folders and databases'; 'profile' = 'Choose among the servers you are logged in at'; 'config' = 'Show and change settings'; 'init' = 'Make a store for this folder and those below it.'; 'use' = 'Choose the workspace that commands work in from now on.'; 'query' = 'Find the passages of a workspace that answer a query best, by words and by meaning.'; 'ask' = 'Answer a question from what the workspace holds, each sentence with its source.'; 'context' = 'Pack what a prompt needs to go on: the session''s summary, then the best passages.'; 'batch' = 'Run operations from NDJSON on standard input, in one process.'; 'serve' = 'Turn this store into a service for a team.'; 'login' = 'Work on a server from now on.'; 'logout' = 'Forget the token for a server.'; 'whoami' = 'Show who one is: org, member, role, and what the token is for.'; 'backup' = 'Copy the whole store into one file, while it is in use.'; 'restore' = 'Replace the whole store by what a backup file holds.'; 'doctor' = 'Check the installation and the store, and say how to mend what is wrong.'; 'demo' = 'Watch three agents share one state object, and one of them die.'; 'help' = 'Show help for a command, or all commands as JSON.' }
        'workspace' = @{ 'create' = 'Create a workspace.'; 'list' = 'List the workspaces by name (or, with ``deleted``, those that can be restored).'; 'show' = 'Show a workspace: how many objects and bytes it holds, and its last event.'; 'usage' = 'Show what a workspace holds, by kind, and what its history and locks add.'; 'rename' = 'Give a workspace another name.'; 'delete' = 'Delete a workspace; nothing in it is lost until it is purged, and it can be restored.'; 'restore' = 'Bring back the workspace of this name that was deleted last.'; 'intelligence' = 'Turn the search over a workspace on or off; off, nothing of it stays in the index.' }
        'state' = @{ 'get' = 'Read one state object, whole or a part of it.'; 'set' = 'Write one state object, or the value at a pointer inside it.'; 'init' = 'Write a default only if nothing is there; read what is there otherwise.'; 'patch' = 'Change parts of one state object, leaving the rest as it is.'; 'append' = 'Append a value to an array of a state object.'; 'increment' = 'Add to a number in a state object, and read the sum.'; 'transact' = 'Apply several changes to several objects of one workspace, all or nothing.'; 'wait' = 'Wait until a JMESPath expression over a state object is true, and read the object.'; 'list' = 'List the state objects by path.'; 'schema' = 'Read the JSON Schema that a state object has to satisfy (null: none).'; 'edit' = 'Change a state object in your editor ($VISUAL or $EDITOR).'; 'history' = 'List the versions of an object, newest first.'; 'diff' = 'Show what changed between two versions of an object (default: the last two).'; 'restore' = 'Bring back an earlier version of an object as its newest.'; 'delete' = 'Delete an object; its history stays and it can be restored.' }
        'file' = @{ 'put' = 'Write a file.'; 'append' = 'Append bytes to a file, at the price of what is appended; creates it if need be.'; 'get' = 'Read the bytes of an object, whole or a range of them.'; 'list' = 'List objects by path, a page at a time.'; 'info' = 'Show what stands at a path: kind, version, etag, size, author and times.'; 'move' = 'Move an object to another path of its workspace.'; 'copy' = 'Copy an object to another path of its workspace; large contents are shared, not copied.'; 'history' = 'List the versions of an object, newest first.'; 'diff' = 'Show what changed between two versions of an object (default: the last two).'; 'restore' = 'Bring back an earlier version of an object as its newest.'; 'delete' = 'Delete an object; its history stays and it can be restored.' }
        'lock' = @{ 'acquire' = 'Take the lock on a path, waiting in line for it if asked to.'; 'renew' = 'Extend a lock you hold, from now, by its ttl or another.'; 'release' = 'Give back a lock you hold; the next in line gets it.'; 'show' = 'Show who holds the lock on a path, why and until when.'; 'list' = 'List the live locks of a workspace by path.'; 'break' = 'Take a lock away from its holder; the audit log says who did, and why.'; 'run' = 'Run a command while holding a lock.' }
        'event' = @{ 'list' = 'List events in the order they happened.'; 'watch' = 'Print events as they happen, one JSON line each.' }
        'audit' = @{ 'verify' = 'Recompute the hash chain of the event log and say whether it holds.' }
        'org' = @{ 'create' = 'Create an org with a workspace ''default''; whoever creates it owns it.'; 'show' = 'Show the org: its owners and how many workspaces it has.'; 'usage' = 'Show what the org uses of its storage and of this month''s credits.'; 'transfer' = 'Hand the org over to a new owner, or take one over.' }
        'member' = @{ 'list' = 'List the members with their roles in the org and in single workspaces.'; 'set' = 'Give somebody a role, in the org or in one workspace only.'; 'remove' = 'Take a role away, in the org or in one workspace; its tokens stop working there at once.' }
        'token' = @{ 'create' = 'Make a token for a member (default: oneself); it is shown this once.'; 'list' = 'List the org''s tokens (those who are not admin see their own).'; 'revoke' = 'End a token at once: one''s own, or as an admin anybody''s.' }
        'index' = @{ 'status' = 'Show how far the search index has come, and which objects it could not read.'; 'rebuild' = 'Drop the search index and begin it anew; the next searches finish it.'; 'clear' = 'Drop the search index; the next search makes it again from the log.' }
        'import' = @{ 'add' = 'Fetch files from URLs into the workspace.'; 'list' = 'List imports, newest first; with a path, where its contents came from.'; 'show' = 'Show one import, waiting for its end if asked to.'; 'cancel' = 'Stop an import that has not ended; nothing of it is kept.'; 'retry' = 'Try a failed or cancelled import again.'; 'login' = 'Let imports read your private files at a file service.'; 'logout' = 'Revoke and forget a login at a file service.'; 'accounts' = 'List the file services and where you are logged in.' }
        'job' = @{ 'list' = 'List the jobs of a workspace, those that were queued last first.'; 'show' = 'Show one job: when it is due or how it ended, its attempts, and why it failed.'; 'retry' = 'Have a job run at once that ended, or that waits for its next attempt.'; 'cancel' = 'Stop a job that has not ended; what it works on is cancelled with it.' }
        'store' = @{ 'copy' = 'Copy a whole store into an empty one, and compare them.' }
        'profile' = @{ 'list' = 'List the servers you are logged in at, and the local store.'; 'use' = 'Work with another profile from now on; local is this machine.'; 'remove' = 'Forget a profile and its token.' }
        'config' = @{ 'show' = 'Show the settings in force and where each comes from.'; 'set' = 'Set a setting, for you, this project or the profile that --profile names.'; 'unset' = 'Forget a setting.' }
        ' -' = @{ '--workspace' = 'The workspace to work in'; '-w' = 'The workspace to work in'; '--store' = 'The store: a folder, a database or a server'; '--profile' = 'The server to work on, as fastio login named it; local is this machine'; '--format' = 'How results are printed (default: table at a terminal, else json)'; '--json' = 'Short for --format json'; '--fields' = 'Only these fields of the result, as a,b.c'; '--quiet' = 'Print only the essential value, such as a token'; '-q' = 'Print only the essential value, such as a token'; '--actor' = 'Who acts, in the event log'; '--help' = 'Show help' }
        'workspace create -' = @{ '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'workspace list -' = @{ '--deleted' = 'Those that were deleted and can be restored'; '--limit' = 'At most this many (default: 50)'; '--cursor' = 'Go on where the last page ended' }
        'workspace show -' = @{  }
        'workspace usage -' = @{  }
        'workspace rename -' = @{ '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'workspace delete -' = @{ '--yes' = 'Do not ask'; '-y' = 'Do not ask'; '--dry-run' = 'Only show what would be deleted'; '-n' = 'Only show what would be deleted'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'workspace restore -' = @{ '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'workspace intelligence -' = @{  }
        'state get -' = @{ '--at' = 'JSON Pointer into the document, as /steps/0'; '--query' = 'JMESPath expression, as log[-1]'; '--version' = 'This version instead of the newest' }
        'state set -' = @{ '--at' = 'JSON Pointer into the document, as /steps/0'; '--schema' = 'JSON Schema that every version has to satisfy: JSON, @FILE or -'; '--if-version' = 'Only if the object is at this version (0: does not exist)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'state init -' = @{ '--schema' = 'JSON Schema that every version has to satisfy: JSON, @FILE or -'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'state patch -' = @{ '--json-patch' = 'The patch is an RFC 6902 list of operations'; '--if-version' = 'Only if the object is at this version (0: does not exist)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'state append -' = @{ '--at' = 'JSON Pointer into the document, as /steps/0'; '--if-version' = 'Only if the object is at this version (0: does not exist)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'state increment -' = @{ '--at' = 'JSON Pointer into the document, as /steps/0'; '--by' = 'What to add (default: 1)'; '--if-version' = 'Only if the object is at this version (0: does not exist)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'state transact -' = @{ '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'state wait -' = @{ '--timeout' = 'Give up after (default: 60s)' }
        'state list -' = @{ '--limit' = 'At most this many (default: 50)'; '--cursor' = 'Go on where the last page ended' }
        'state schema -' = @{  }
        'state edit -' = @{ '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)' }
        'state history -' = @{ '--limit' = 'At most this many (default: 50)'; '--cursor' = 'Go on where the last page ended' }
        'state diff -' = @{ '--from' = 'The older version (default: the one before)'; '--to' = 'The newer version (default: the newest)' }
        'state restore -' = @{ '--version' = 'This version instead of the newest'; '--if-version' = 'Only if the object is at this version (0: does not exist)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'state delete -' = @{ '--if-version' = 'Only if the object is at this version (0: does not exist)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'file put -' = @{ '--recursive' = 'Store a folder with all files below it'; '-r' = 'Store a folder with all files below it'; '--dry-run' = 'Only say which files a folder would store, and where'; '-n' = 'Only say which files a folder would store, and where'; '--media-type' = 'Default: what the name says'; '--if-version' = 'Only if the object is at this version (0: does not exist)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'file append -' = @{ '--if-version' = 'Only if the object is at this version (0: does not exist)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'file get -' = @{ '--output' = 'Write to this file instead of stdout'; '-o' = 'Write to this file instead of stdout'; '--version' = 'This version instead of the newest'; '--offset' = 'Begin at this byte'; '--length' = 'At most this many bytes' }
        'file list -' = @{ '--type' = 'Only objects of this kind'; '--limit' = 'At most this many (default: 50)'; '--cursor' = 'Go on where the last page ended' }
        'file info -' = @{  }
        'file move -' = @{ '--overwrite' = 'Replace what stands at the new path'; '--if-version' = 'Only if the object is at this version (0: does not exist)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'file copy -' = @{ '--overwrite' = 'Replace what stands at the new path'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'file history -' = @{ '--limit' = 'At most this many (default: 50)'; '--cursor' = 'Go on where the last page ended' }
        'file diff -' = @{ '--from' = 'The older version (default: the one before)'; '--to' = 'The newer version (default: the newest)' }
        'file restore -' = @{ '--version' = 'This version instead of the newest'; '--if-version' = 'Only if the object is at this version (0: does not exist)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'file delete -' = @{ '--if-version' = 'Only if the object is at this version (0: does not exist)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'lock acquire -' = @{ '--ttl' = 'Ends by itself after (default: 60s)'; '--wait' = 'Wait in line for at most'; '--purpose' = 'Why, for those who find it locked'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'lock renew -' = @{ '--ttl' = 'Ends by itself after (default: 60s)'; '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'lock release -' = @{ '--lock-token' = 'Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'lock show -' = @{  }
        'lock list -' = @{ '--limit' = 'At most this many (default: 50)'; '--cursor' = 'Go on where the last page ended' }
        'lock break -' = @{ '--reason' = 'Why, for the audit log'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'lock run -' = @{ '--ttl' = 'Ends by itself after (default: 60s)'; '--wait' = 'Wait in line for at most'; '--purpose' = 'Why, for those who find it locked' }
        'event list -' = @{ '--after' = 'Only events after this number'; '--type' = 'Only events of this type, as ''state.*'''; '--path' = 'Only events of paths like this, as ''plans/*'''; '--limit' = 'At most this many (default: 50)' }
        'event watch -' = @{ '--after' = 'Only events after this number'; '--type' = 'Only events of this type, as ''state.*'''; '--path' = 'Only events of paths like this, as ''plans/*'''; '--count' = 'End after this many events'; '--timeout' = 'End after this time' }
        'audit verify -' = @{ '--head-seq' = 'Number of an event whose hash you kept'; '--head-hash' = 'The hash you kept' }
        'org create -' = @{ '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'org show -' = @{  }
        'org usage -' = @{  }
        'org transfer -' = @{ '--name' = 'Who you are in the org you claim'; '--expires' = 'Ends by itself after'; '--limit' = 'At most this many (default: 50)'; '--cursor' = 'Go on where the last page ended'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'member list -' = @{ '--limit' = 'At most this many (default: 50)'; '--cursor' = 'Go on where the last page ended' }
        'member set -' = @{ '--in-workspace' = 'Only in this workspace'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'member remove -' = @{ '--in-workspace' = 'Only in this workspace'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'token create -' = @{ '--role' = 'At most this role'; '--scope' = 'Only operations like this, as ''state.*'''; '--in-workspace' = 'Only in this workspace'; '--expires' = 'Ends by itself after'; '--label' = 'What it is for'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'token list -' = @{ '--limit' = 'At most this many (default: 50)'; '--cursor' = 'Go on where the last page ended' }
        'token revoke -' = @{ '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'index status -' = @{  }
        'index rebuild -' = @{ '--wait' = 'First finish the vectors of everything written, showing progress' }
        'index clear -' = @{  }
        'import add -' = @{ '--to' = 'The path, or a folder with / at its end'; '--name' = 'Name of the file in its folder (default: the server''s)'; '--from-file' = 'Also the URLs in this file, one a line'; '--sha256' = 'Only if the bytes have this checksum'; '--header-file' = 'Send the headers in this file, ''Name: value'' a line'; '--on-conflict' = 'Where something stands: its next version, a numbered name, or fail'; '--max-size' = 'Refuse larger files, as 500MB'; '--wait' = 'Wait for the end also when the store is remote'; '--timeout' = 'Wait for the end, at most'; '--lock-token' = 'Token of the lock you hold on the path; @FILE or - to read it'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'import list -' = @{ '--state' = 'Only those in this state'; '--path' = 'Only those to this path'; '--limit' = 'At most this many (default: 50)'; '--cursor' = 'Go on where the last page ended' }
        'import show -' = @{ '--wait' = 'Wait for its end for at most' }
        'import cancel -' = @{ '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'import retry -' = @{ '--header-file' = 'Send the headers in this file, ''Name: value'' a line'; '--wait' = 'Wait for the end also when the store is remote'; '--timeout' = 'Wait for the end, at most'; '--lock-token' = 'Token of the lock you hold on the path; @FILE or - to read it'; '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'import login -' = @{ '--device' = 'Log in on another device, by a code' }
        'import logout -' = @{  }
        'import accounts -' = @{  }
        'job list -' = @{ '--state' = 'Only those in this state'; '--kind' = 'Only those of this kind, as import or index'; '--limit' = 'At most this many (default: 50)'; '--cursor' = 'Go on where the last page ended' }
        'job show -' = @{  }
        'job retry -' = @{ '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'job cancel -' = @{ '--idempotency-key' = 'Repeating the command with this key changes nothing more, for a day' }
        'store copy -' = @{ '--source-blobs' = 'Where a source database keeps large files'; '--target-blobs' = 'Where a target database keeps large files'; '--progress' = 'Show how far it is' }
        'profile list -' = @{  }
        'profile use -' = @{  }
        'profile remove -' = @{  }
        'config show -' = @{  }
        'config set -' = @{ '--project' = 'In this project''s settings instead of yours' }
        'config unset -' = @{ '--project' = 'In this project''s settings instead of yours' }
        'init -' = @{  }
        'use -' = @{ '--create' = 'Create it if there is none of this name' }
        'query -' = @{ '--path' = 'Only objects whose path matches, as ''notes/*'''; '--type' = 'Only objects of this kind'; '--since' = 'Only what changed in the last, as 7d'; '--limit' = 'At most this many (default: 10)'; '--mode' = 'How to search'; '--all-workspaces' = 'Search every workspace'; '--explain' = 'Show how the results were ranked'; '--wait' = 'First finish the vectors of everything written, showing progress' }
        'ask -' = @{ '--path' = 'Only objects whose path matches, as ''notes/*'''; '--type' = 'Only objects of this kind'; '--since' = 'Only what changed in the last, as 7d'; '--session' = 'State object that keeps the conversation'; '--model' = 'The chat model to ask (default: the setting chat_model)'; '--endpoint' = 'The chat endpoint to ask (default: the setting chat_url)'; '--wait' = 'First finish the vectors of everything written, showing progress' }
        'context -' = @{ '--budget' = 'At most this many tokens (default: 2000)'; '--summary' = 'State object that comes first (default: session_summary.json)'; '--path' = 'Only objects whose path matches, as ''notes/*'''; '--type' = 'Only objects of this kind'; '--since' = 'Only what changed in the last, as 7d'; '--wait' = 'First finish the vectors of everything written, showing progress' }
        'batch -' = @{ '--stop' = 'Stop at the first operation that fails' }
        'serve -' = @{ '--host' = 'Address to listen on (default: 127.0.0.1)'; '--port' = 'Port to listen on (default: 8787)'; '--workers' = 'Processes (default: 1)'; '--tls-certificate' = 'PEM file with the certificate'; '--tls-key' = 'PEM file with its key'; '--behind-proxy' = 'A proxy in front encrypts and says who the client is'; '--no-access-log' = 'Do not write a line for every request' }
        'login -' = @{ '--token' = '@FILE, or - for standard input (default: asked)'; '--ca-file' = 'Certificate authorities to trust besides the public ones' }
        'logout -' = @{  }
        'whoami -' = @{  }
        'backup -' = @{ '--overwrite' = 'Replace the file if it exists' }
        'restore -' = @{ '--yes' = 'Do not ask'; '-y' = 'Do not ask' }
        'doctor -' = @{ '--sweep' = 'Also remove stored bytes that nothing has used for a day' }
        'demo -' = @{  }
        'help -' = @{  }
        '* --workspace' = ':workspace'
        '* -w' = ':workspace'
        '* --in-workspace' = ':workspace'
        '* --store' = ':folder'
        '* --profile' = ':profile'
        '* --format' = @{ 'table' = 'table'; 'json' = 'json'; 'jsonl' = 'jsonl'; 'markdown' = 'markdown'; 'raw' = 'raw' }
        '* --fields' = ':nothing'
        '* --actor' = ':nothing'
        '* --idempotency-key' = ':nothing'
        '* --limit' = ':nothing'
        '* --cursor' = ':nothing'
        '* --at' = ':nothing'
        '* --query' = ':nothing'
        '* --version' = ':nothing'
        '* --schema' = ':nothing'
        '* --if-version' = ':nothing'
        '* --lock-token' = ':nothing'
        '* --by' = ':nothing'
        '* --timeout' = ':nothing'
        '* --from' = ':nothing'
        'state diff --to' = ':nothing'
        'file diff --to' = ':nothing'
        '* --media-type' = ':nothing'
        '* --offset' = ':nothing'
        '* --length' = ':nothing'
        'event list --type' = ':nothing'
        'event watch --type' = ':nothing'
        '* --ttl' = ':nothing'
        'lock acquire --wait' = ':nothing'
        'lock run --wait' = ':nothing'
        'import show --wait' = ':nothing'
        '* --purpose' = ':nothing'
        '* --reason' = ':nothing'
        '* --after' = ':nothing'
        'event list --path' = ':nothing'
        'event watch --path' = ':nothing'
        'query --path' = ':nothing'
        'ask --path' = ':nothing'
        'context --path' = ':nothing'
        '* --count' = ':nothing'
        '* --head-seq' = ':nothing'
        '* --head-hash' = ':nothing'
        '* --name' = ':nothing'
        '* --expires' = ':nothing'
        '* --scope' = ':nothing'
        '* --label' = ':nothing'
        '* --sha256' = ':nothing'
        '* --max-size' = ':nothing'
        '* --kind' = ':nothing'
        '* --source-blobs' = ':nothing'
        '* --target-blobs' = ':nothing'
        '* --since' = ':nothing'
        '* --session' = ':nothing'
        '* --model' = ':nothing'
        '* --endpoint' = ':nothing'
        '* --budget' = ':nothing'
        '* --summary' = ':nothing'
        '* --host' = ':nothing'
        '* --port' = ':nothing'
        '* --workers' = ':nothing'
        '* --token' = ':nothing'
        'import add --to' = ':path'
        'import list --path' = ':path'
        '* --output' = ':file'
        '* -o' = ':file'
        '* --from-file' = ':file'
        '* --header-file' = ':file'
        '* --tls-certificate' = ':file'
        '* --tls-key' = ':file'
        '* --ca-file' = ':file'
        'file list --type' = @{ 'state' = 'state'; 'file' = 'file' }
        'query --type' = @{ 'file' = 'file'; 'state' = 'state' }
        'ask --type' = @{ 'file' = 'file'; 'state' = 'state' }
        'context --type' = @{ 'file' = 'file'; 'state' = 'state' }
        '* --role' = @{ 'viewer' = 'viewer'; 'editor' = 'editor'; 'admin' = 'admin'; 'owner' = 'owner' }
        '* --on-conflict' = @{ 'version' = 'version'; 'rename' = 'rename'; 'fail' = 'fail' }
        '* --state' = @{ 'queued' = 'queued'; 'running' = 'running'; 'done' = 'done'; 'failed' = 'failed'; 'cancelled' = 'cancelled' }
        '* --mode' = @{ 'hybrid' = 'hybrid'; 'semantic' = 'semantic'; 'lexical' = 'lexical' }
        'workspace create 0' = ':workspace'
        'workspace show 0' = ':workspace'
        'workspace usage 0' = ':workspace'
        'workspace rename 0' = ':workspace'
        'workspace delete 0' = ':workspace'
        'workspace restore 0' = ':workspace'
        'use 0' = ':workspace'
        'workspace rename 1' = ':nothing'
        'workspace intelligence 0' = ':nothing'
        'state set 1' = ':nothing'
        'state init 1' = ':nothing'
        'state patch 1' = ':nothing'
        'state append 1' = ':nothing'
        'state transact 0' = ':nothing'
        'state wait 1' = ':nothing'
        'state list 0' = ':nothing'
        'file append 1' = ':nothing'
        'file list 0' = ':nothing'
        'lock list 0' = ':nothing'
        'org create 0' = ':nothing'
        'org transfer 0' = ':nothing'
        'org transfer 1' = ':nothing'
        'member set 0' = ':nothing'
        'member set 1' = ':nothing'
        'member remove 0' = ':nothing'
        'token create 0' = ':nothing'
        'token revoke 0' = ':nothing'
        'import add 0' = ':nothing'
        'import show 0' = ':nothing'
        'import cancel 0' = ':nothing'
        'import retry 0' = ':nothing'
        'import login 0' = ':nothing'
        'import logout 0' = ':nothing'
        'job show 0' = ':nothing'
        'job retry 0' = ':nothing'
        'job cancel 0' = ':nothing'
        'store copy 0' = ':nothing'
        'store copy 1' = ':nothing'
        'config set 1' = ':nothing'
        'query 0' = ':nothing'
        'ask 0' = ':nothing'
        'context 0' = ':nothing'
        'login 0' = ':nothing'
        'state get 0' = ':path'
        'state set 0' = ':path'
        'state init 0' = ':path'
        'state patch 0' = ':path'
        'state append 0' = ':path'
        'state increment 0' = ':path'
        'state wait 0' = ':path'
        'state schema 0' = ':path'
        'state edit 0' = ':path'
        'state history 0' = ':path'
        'state diff 0' = ':path'
        'state restore 0' = ':path'
        'state delete 0' = ':path'
        'file put 1' = ':path'
        'file append 0' = ':path'
        'file get 0' = ':path'
        'file info 0' = ':path'
        'file move 0' = ':path'
        'file move 1' = ':path'
        'file copy 0' = ':path'
        'file copy 1' = ':path'
        'file history 0' = ':path'
        'file diff 0' = ':path'
        'file restore 0' = ':path'
        'file delete 0' = ':path'
        'lock acquire 0' = ':path'
        'lock renew 0' = ':path'
        'lock release 0' = ':path'
        'lock show 0' = ':path'
        'lock break 0' = ':path'
        'lock run 0' = ':path'
        'file put 0' = ':file'
        'backup 0' = ':file'
        'restore 0' = ':file'
        'lock run 1' = ':command'
        'profile use 0' = ':profile'
        'profile remove 0' = ':profile'
        'logout 0' = ':profile'
        'config show 0' = @{ 'store' = 'store'; 'profile' = 'profile'; 'blobs' = 'blobs'; 'workspace' = 'workspace'; 'actor' = 'actor'; 'format' = 'format'; 'durability' = 'durability'; 'file_bytes_max' = 'file_bytes_max'; 'storage_bytes_max' = 'storage_bytes_max'; 'metered' = 'metered'; 'credits_per_month' = 'credits_per_month'; 'org_bytes_max' = 'org_bytes_max'; 'rate_per_s' = 'rate_per_s'; 'retry_s' = 'retry_s'; 'ca_file' = 'ca_file'; 'versions_max' = 'versions_max'; 'embedding_url' = 'embedding_url'; 'embedding_model' = 'embedding_model'; 'chat_url' = 'chat_url'; 'chat_model' = 'chat_model'; 'egress_allow' = 'egress_allow'; 'egress_ports' = 'egress_ports'; 'egress_ca_file' = 'egress_ca_file'; 'import_parallel' = 'import_parallel'; 'import_attempts_max' = 'import_attempts_max'; 'import_retry_ms' = 'import_retry_ms'; 'import_timeout_s' = 'import_timeout_s'; 'import_stall_s' = 'import_stall_s'; 'import_buckets' = 'import_buckets'; 'import_endpoints' = 'import_endpoints'; 'secret_key_file' = 'secret_key_file'; 'google_client_id' = 'google_client_id'; 'google_client_secret' = 'google_client_secret'; 'onedrive_client_id' = 'onedrive_client_id'; 'onedrive_client_secret' = 'onedrive_client_secret'; 'dropbox_client_id' = 'dropbox_client_id'; 'dropbox_client_secret' = 'dropbox_client_secret'; 'box_client_id' = 'box_client_id'; 'box_client_secret' = 'box_client_secret' }
        'config set 0' = @{ 'store' = 'store'; 'profile' = 'profile'; 'blobs' = 'blobs'; 'workspace' = 'workspace'; 'actor' = 'actor'; 'format' = 'format'; 'durability' = 'durability'; 'file_bytes_max' = 'file_bytes_max'; 'storage_bytes_max' = 'storage_bytes_max'; 'metered' = 'metered'; 'credits_per_month' = 'credits_per_month'; 'org_bytes_max' = 'org_bytes_max'; 'rate_per_s' = 'rate_per_s'; 'retry_s' = 'retry_s'; 'ca_file' = 'ca_file'; 'versions_max' = 'versions_max'; 'embedding_url' = 'embedding_url'; 'embedding_model' = 'embedding_model'; 'chat_url' = 'chat_url'; 'chat_model' = 'chat_model'; 'egress_allow' = 'egress_allow'; 'egress_ports' = 'egress_ports'; 'egress_ca_file' = 'egress_ca_file'; 'import_parallel' = 'import_parallel'; 'import_attempts_max' = 'import_attempts_max'; 'import_retry_ms' = 'import_retry_ms'; 'import_timeout_s' = 'import_timeout_s'; 'import_stall_s' = 'import_stall_s'; 'import_buckets' = 'import_buckets'; 'import_endpoints' = 'import_endpoints'; 'secret_key_file' = 'secret_key_file'; 'google_client_id' = 'google_client_id'; 'google_client_secret' = 'google_client_secret'; 'onedrive_client_id' = 'onedrive_client_id'; 'onedrive_client_secret' = 'onedrive_client_secret'; 'dropbox_client_id' = 'dropbox_client_id'; 'dropbox_client_secret' = 'dropbox_client_secret'; 'box_client_id' = 'box_client_id'; 'box_client_secret' = 'box_client_secret' }
        'config unset 0' = @{ 'store' = 'store'; 'profile' = 'profile'; 'blobs' = 'blobs'; 'workspace' = 'workspace'; 'actor' = 'actor'; 'format' = 'format'; 'durability' = 'durability'; 'file_bytes_max' = 'file_bytes_max'; 'storage_bytes_max' = 'storage_bytes_max'; 'metered' = 'metered'; 'credits_per_month' = 'credits_per_month'; 'org_bytes_max' = 'org_bytes_max'; 'rate_per_s' = 'rate_per_s'; 'retry_s' = 'retry_s'; 'ca_file' = 'ca_file'; 'versions_max' = 'versions_max'; 'embedding_url' = 'embedding_url'; 'embedding_model' = 'embedding_model'; 'chat_url' = 'chat_url'; 'chat_model' = 'chat_model'; 'egress_allow' = 'egress_allow'; 'egress_ports' = 'egress_ports'; 'egress_ca_file' = 'egress_ca_file'; 'import_parallel' = 'import_parallel'; 'import_attempts_max' = 'import_attempts_max'; 'import_retry_ms' = 'import_retry_ms'; 'import_timeout_s' = 'import_timeout_s'; 'import_stall_s' = 'import_stall_s'; 'import_buckets' = 'import_buckets'; 'import_endpoints' = 'import_endpoints'; 'secret_key_file' = 'secret_key_file'; 'google_client_id' = 'google_client_id'; 'google_client_secret' = 'google_client_secret'; 'onedrive_client_id' = 'onedrive_client_id'; 'onedrive_client_secret' = 'onedrive_client_secret'; 'dropbox_client_id' = 'dropbox_client_id'; 'dropbox_client_secret' = 'dropbox_client_secret'; 'box_client_id' = 'box_client_id'; 'box_client_secret' = 'box_client_secret' }
        'lock run *' = ':file'
        'import add *' = ':nothing'
    }
    $find = {
        param($command, $place)
        if ($table.ContainsKey("$command $place")) { $table["$command $place"] }
        elseif ($table.ContainsKey("* $place")) { $table["* $place"] }
        elseif ($place -match '^\d+$') { $table["$command *"] }
    }
    $command = ''; $position = 0; $option = ''; $plain = $false; $context = @()
    $before = @($ast.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursor } | ForEach-Object { "$_".Trim("'", '"') })
    foreach ($word in $before) {
        if ($option) {
            if (@('--workspace', '-w', '--store', '--profile') -ccontains $option) {
                $context += $option, $word
            }
            $option = ''
        }
        elseif (-not $plain -and $word -ceq '--') { $plain = $true }
        elseif (-not $plain -and $word -clike '--*=*') {
            if ($word -cmatch '^--(workspace|store|profile)=') { $context += $word }
        }
        elseif (-not $plain -and $word -clike '-?*') {
            if (& $find $command $word) { $option = $word }
        }
        elseif (-not $command) { if ($word -cne 'help') { $command = $word } }
        elseif ($table.ContainsKey($command)) { $command = "$command $word" }
        else { $position++ }
    }
    $prefix = ''
    if (-not $plain -and -not $option -and $current -clike '--*=*') {
        $option, $current = $current -split '=', 2
        $prefix = "$option="
    }
    if ($option) { $offered = & $find $command $option }
    elseif (-not $plain -and $current -clike '-*') {
        $offered = $table["$command -"] + $table[' -']
    }
    elseif ($table.ContainsKey($command)) { $offered = $table[$command] }
    else { $offered = & $find $command $position }
    if ($offered -is [string]) {
        # Of anything else PowerShell offers files by itself.
        if (-not (@(':path', ':workspace', ':profile') -ccontains $offered)) { return }
        $kind = $offered.TrimStart(':')
        $offered = @{}
        & fastio complete @context $kind -- $current 2>$null |
            ForEach-Object { $offered[$_] = $_ }
    }
    foreach ($word in ($offered.Keys | Sort-Object)) {
        if ($word.StartsWith($current, [StringComparison]::Ordinal)) {
            $text = if ($word -match '\s') { "'$word'" } else { $word }
            [System.Management.Automation.CompletionResult]::new(
                "$prefix$text", $word, 'ParameterValue', $offered[$word])
        }
    }
}
