"""
What deploy/ holds, before anyone has to find out in AWS.

    template    the template as CloudFormation would resolve it for given parameters
"""
