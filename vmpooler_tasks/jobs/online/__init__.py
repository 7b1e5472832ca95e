"""What can be tried of a configuration: do the servers that it names do what is asked of them?"""
