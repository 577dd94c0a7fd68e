"""CloudFormation, as strict as AWS, instead of moto's.

    templates.py    reads a template and resolves its functions
    schemas.py      what the resource schemas say: names, create-only properties, unknown properties
    kinds.py        how a resource type is created, read, updated and deleted; catalogue/ holds the types
    model.py        a stack, its resources and events
    engine.py       creates, updates, rolls back and deletes stacks, step by step
    change_sets.py  what would change, and whether it replaces
    api.py          the operations that clients call; front.py serves them

moto says CREATE_COMPLETE for types it does not know, never rolls back and keeps little of what a template says; none
of its stack code is used, only some of its resource classes.
"""
