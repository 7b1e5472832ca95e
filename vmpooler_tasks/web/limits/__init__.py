"""What clients may cost this process: connections and their deadlines, framing, requests at a time."""
